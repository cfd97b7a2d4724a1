"""`caducee share issue|revoke`, `transfer delete` and `sent` over HTTP: with an id, and what this machine remembers."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.people import add_file, ok, open_transfer
from tests.acceptance.warm_start import PROGRAM


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The folder of what the depositor's machine remembers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "caducee"


@pytest.fixture
def caducee(house, state):
    """The command, on the machine of a depositor."""
    connected = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"]}

    def run(*arguments, typed=None, code=0, **settings):
        return house.installation.run(*map(str, arguments), typed=typed, code=code, **(connected | settings))

    return run


@pytest.fixture
def sent(caducee, tmp_path):
    """A sealed transfer that was sent from this machine."""
    (tmp_path / "a.csv").write_bytes(b"a;b\n")
    return caducee("send", tmp_path / "a.csv", "--to", "CPAM 75", "--expires", "1h", "--json").json


def keys_in(state):
    """Every client key that the machine remembers."""
    kept = [json.loads(path.read_text()) for path in state.rglob("*.json")]
    return {each["client_key"] for each in kept if each.get("client_key")}


def test_an_id_is_enough_to_share_withdraw_and_delete(caducee, sent, state, staff, tmp_path):
    transfer, (first,) = sent["transfer_id"], sent["shares"]
    (key,) = keys_in(state)
    issued = caducee("share", "issue", transfer, "--to", "ARS", "--json", "--lang", "fr").json
    assert issued["link"] in issued["mail"].splitlines()
    assert "vous a envoyé 1 fichier" in issued["mail"]
    assert issued["password"] not in issued["mail"]
    withdrawn = caducee("share", "revoke", first["share_id"], "--reason", "mistake", "--json").json
    assert withdrawn == {"id": first["share_id"], "state": "withdrawn", "keys_destroyed": True}

    (tmp_path / "password").write_text(issued["password"])
    arguments = ["--password-file", tmp_path / "password", "--trust", "-o", tmp_path / "received"]
    caducee("get", issued["link"], *arguments)
    assert (tmp_path / "received" / "a.csv").read_bytes() == b"a;b\n"

    (tmp_path / "b.csv").write_bytes(b"c")
    another = caducee("send", tmp_path / "b.csv", "--to", "A", "--json").json["transfer_id"]
    assert key in keys_in(state)
    assert "keys destroyed" in caducee("transfer", "delete", another).err
    assert ok(staff.get(f"/api/v1/transfers/{another}"), 200)["ending"] == "deleted"
    assert keys_in(state) == {key}
    assert "(transfer_ended)" in caducee("share", "issue", another, "--to", "ARS", code=1).err
    listed = caducee("sent").out
    assert all(ident in listed for ident in (transfer, first["share_id"], another))


def test_without_its_client_key_nothing_is_issued_from_here(caducee, sent, state, staff, house):
    """And none that is remembered for another service is sent to this one."""
    issue, path = ["share", "issue", sent["transfer_id"], "--to", "ARS"], f"/api/v1/transfers/{sent['transfer_id']}"
    (kept,) = state.glob("sent/*.json")
    remembered = kept.read_text()
    kept.write_text(remembered.replace(house.server.origin, "https://files.example.org"))
    for typed in ("", "\n"):
        refused = caducee(*issue, typed=typed, code=1)
        assert "cannot be issued from here" in refused.err
        assert refused.err.endswith("(client_key_required)\n")
    shutil.rmtree(state)
    assert "(wrong_client_key)" in caducee(*issue, CLIENT_KEY="A" * 43, code=1).err
    assert len(ok(staff.get(path), 200)["shares"]) == 1
    assert "#sealed." in caducee(*issue, CLIENT_KEY=json.loads(remembered)["client_key"]).out


def test_a_client_key_is_forgotten_once_its_transfer_is_seen_to_have_ended(caducee, sent, state, staff, tmp_path):
    """Also that of an interrupted send; what was sent stays listed. A refusal is no end."""
    (tmp_path / "b.csv").write_bytes(b"x")
    caducee("send", tmp_path / "b.csv", "--to", "A", "--link-file", tmp_path / "missing" / "link", code=2)
    (begun,) = (json.loads(path.read_text())["transfer_id"] for path in state.glob("sends/*/send.json"))
    caducee("sent", code=1, TOKEN="cad_" + "x" * 50)
    assert len(keys_in(state)) == 2
    for transfer in (begun, sent["transfer_id"]):
        ok(staff.delete(f"/api/v1/transfers/{transfer}"), 204)
    listed = caducee("sent", "--json").json["transfers"]
    assert [each["id"] for each in listed] == [sent["transfer_id"], begun]
    assert keys_in(state) == set()
    assert [each["id"] for each in caducee("sent", "--json").json["transfers"]] == [sent["transfer_id"], begun]


@pytest.mark.parametrize("command", ["send", "share issue"])
def test_a_person_gets_a_text_to_mail_and_apart_from_it_the_password(caducee, sent, tmp_path, command):
    (tmp_path / "b.csv").write_bytes(b"x")
    asked = {"send": ["send", tmp_path / "b.csv"], "share issue": ["share", "issue", sent["transfer_id"]]}[command]
    mail, told, rest = caducee(*asked, "--to", "ARS", "--lang", "fr").out.split("\n\n")
    assert mail.startswith("--- for ARS: send this by mail ---\nObjet\u00a0: ")
    assert "jusqu’au " in mail
    assert "/s/" in mail
    heading, password = told.splitlines()
    assert heading == "--- for ARS: tell this by telephone, never by mail ---"
    assert password not in mail
    assert rest == ""


def test_a_share_that_could_not_be_shown_is_withdrawn(house, staff, state):
    """Nobody has its link. Of an unsealed transfer, whose key was typed in, as its depositor kept it."""
    transfer, key = open_transfer(staff)
    ok(add_file(staff, transfer, key, b"x"), 201)
    settings = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"], "CLIENT_KEY": key}
    command = [str(PROGRAM), "share", "issue", transfer, "--to", "ARS"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, env=house.installation.environment(**settings), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, b"no space left" in done.stderr) == (2, True)
    assert [share["state"] for share in ok(staff.get(f"/api/v1/transfers/{transfer}"), 200)["shares"]] == ["withdrawn"]
