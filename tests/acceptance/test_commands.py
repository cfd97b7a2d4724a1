"""The command line as programs use it: one JSON document on stdout, talk on stderr, exit codes that mean something."""

import json
import sqlite3
from contextlib import closing

import click
import pytest
import typer
from typer.testing import CliRunner

import cli
from tests.acceptance.people import add_file, bearer, claim, ok, open_transfer, send, wrong_secret
from tests.acceptance.service import Installation, until


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """An installation with a little of everything, served while the commands run."""
    installation = Installation(tmp_path_factory.mktemp("shop"))
    with installation.serving() as server, server.http(token := installation.token()) as http:
        keep_a_receipt(installation, http)
        yield installation, server, http, token


def keep_a_receipt(installation, http):
    """With the public key and a proof of consistency, beside the data folder: where commands are run."""
    transfer = send(http).transfer_id
    (installation.folder / "deleted").write_text(transfer)
    path = f"/api/v1/transfers/{transfer}"
    ok(http.delete(path), 204)
    until(lambda: http.get(f"{path}/receipt").status_code == 200, what="a receipt")
    (installation.folder / "a.tlog-proof").write_bytes(http.get(f"{path}/receipt").content)
    checkpoint = installation.run("audit", "checkpoint", "--json").json
    (installation.folder / "log.pub").write_text(checkpoint["public_key"])
    (installation.folder / "kept").write_text(checkpoint["note"], "utf-8")
    headers = bearer(installation.token("auditor", name="auditor"))
    found = ok(http.post("/api/v1/audit/consistency", content=checkpoint["note"].encode(), headers=headers), 200)
    (installation.folder / "a.proof").write_text(found["proof"], "utf-8")


def commands(command, path=()):
    """Every command of the tree, with the words that call it."""
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


TREE = dict(commands(typer.main.get_command(cli.build())))
WITH_JSON = {path for path, command in TREE.items() if any("--json" in option.opts for option in command.params)}
ARGUMENTS = {
    ("token", "create"): ["somebody"],
    ("transfer", "show"): ["{transfer}"],
    ("transfer", "delete"): ["{transfer}", "--reason", "mistake"],
    ("share", "revoke"): ["{share}", "--reason", "request"],
    ("token", "revoke"): ["{token}", "--reason", "incident"],
    ("session", "revoke"): ["{session}", "--reason", "incident"],
    ("share", "issue"): ["{transfer}", "--to", "ARS"],
    ("send",): ["log.pub", "--to", "ARS"],
    ("watch",): ["{folder}", "--to", "ARS", "--once", "--on-link", "true", "--on-password", "true"],
    ("get",): ["{link}", "--password-file", "password", "--trust"],
    ("audit", "drill"): ["--restored", "{backup}"],
    ("audit", "exposure"): ["--from", "2020-01-01"],
    ("audit", "deliveries"): ["--from", "2020-01-01"],
    ("audit", "certificate"): ["{deleted}"],
    ("audit", "verify-consistency"): ["a.proof", "--since", "kept", "--public-key", "log.pub"],
    ("audit", "verify-receipt"): ["a.tlog-proof", "--public-key", "log.pub"],
    ("audit", "new-log"): ["--reason", "log_damaged"],
}


OTHER_FORMATS = {
    ("serve",): "runs until it is stopped",
    ("scheduler",): "runs until it is stopped",
    ("audit", "export"): "JSON lines, one record each, for verification without the service",
    ("audit", "receipt"): "a tlog-proof, to be kept as it is",
}
AFTERWARDS = [
    ("intake", "off"),
    ("intake", "on"),
    ("lockdown", "on"),
    ("lockdown", "off"),
    ("db", "accept-restore"),
    ("lockdown", "destroy-all-keys"),
]
"""They stop others from working, so they run on an installation of their own, in this order."""
REFUSES_HERE = {("keys", "accept-vault"): "the vault is in use"}
REASONED = {
    ("lockdown", "on"),
    ("lockdown", "off"),
    ("lockdown", "destroy-all-keys"),
    ("transfer", "delete"),
    ("share", "revoke"),
    ("token", "revoke"),
    ("session", "revoke"),
}


def test_every_command_speaks_json_or_says_here_why_not():
    """A new command without it fails here."""
    assert set(TREE) - WITH_JSON == set(OTHER_FORMATS)


def test_a_reason_is_one_of_five_words_wherever_it_is_asked_for():
    asking = {path for path, command in TREE.items() if any(option.name == "reason" for option in command.params)}
    assert asking == REASONED | {("audit", "new-log")}
    for path in REASONED:
        said = "".join(CliRunner().invoke(cli.build(), [*path, "--help"]).output.split())
        assert "incident|mistake|request|test|other" in said


def test_controls_that_stop_others_print_one_document_too(tmp_path):
    installation = Installation(tmp_path)
    with installation.serving() as server, server.http(installation.token()) as http:
        send(http)
    for path in AFTERWARDS:
        why = ["--reason", "test"] if path in REASONED else []
        ran = installation.run(*path, *why, "--json", typed="destroy\n")
        assert isinstance(ran.json, dict), path
    assert ran.json["keys_destroyed"] >= 1
    entries = installation.run("audit", "log", "--json").json["entries"]
    by_operator = [entry for entry in entries if entry["actor"] == "operator"]
    reasoned = {entry["event"] for entry in by_operator if entry.get("reason") == "test"}
    assert reasoned == {"lockdown.begun", "lockdown.lifted", "keys.all_destroyed", "transfer.denied"}
    assert {entry["operator"].partition(":")[0] for entry in by_operator} <= {"login", "sudo", "user"}
    installation.run("audit", "verify")


@pytest.mark.parametrize("path", sorted(WITH_JSON - set(AFTERWARDS) - set(REFUSES_HERE)), ids=" ".join)
def test_every_json_output_is_one_document_and_the_talk_is_elsewhere(shop, path, tmp_path, monkeypatch):
    """docs/cli.md. A command that learns --json is found here by itself."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    installation, server, http, token = shop
    share = send(http)
    settings = {"SERVER": server.origin, "TOKEN": token, "CLIENT_KEY": share.client_key}
    if path == ("audit", "drill"):  # passes only when something has ended since the backup
        (installation.folder / "backup").mkdir()
        with closing(sqlite3.connect(installation.folder / "backup" / "caducee.sqlite")) as backup:
            sqlite3.connect(installation.database).backup(backup)
        ok(http.delete(f"/api/v1/transfers/{share.transfer_id}"), 204)
        until(
            lambda: not installation.rows("SELECT 1 FROM transfers WHERE state = 'denied'"), what="the end of its keys"
        )
    spare = installation.run("token", "create", f"spare {' '.join(path)}", "--json").json["id"]
    known = {"transfer": share.transfer_id, "share": share.id, "token": spare, "backup": installation.folder / "backup"}
    (tmp_path / "watched").mkdir()
    known["folder"] = tmp_path / "watched"
    with server.http() as browser:
        browser.post("/sign-in", data={"token": token}, headers={"Origin": server.origin})
        known["session"] = ok(browser.get("/api/v1/me"), 200)["session"]["id"]
    known["deleted"], known["link"] = (installation.folder / "deleted").read_text(), share.link
    (installation.folder / "password").write_text(share.password)
    arguments = [text.format(**known) for text in ARGUMENTS.get(path, [])]
    ran = installation.run(*path, *arguments, "--json", **settings)
    assert json.loads(ran.out) is not None
    assert ran.out.endswith("\n")
    assert "\x1b" not in ran.out + ran.err
    assert "Traceback" not in ran.err


def test_the_contract_of_token_create(shop):
    """The form in which programs read it: `{"id": ..., "token": "cad_..."}`."""
    installation, server, _, _ = shop
    made = installation.run("token", "create", "labo", "--role", "staff", "--expires", "90d", "--json").json
    assert {"id", "token"} <= set(made)
    assert made["token"].startswith("cad_")
    assert made["expires_at"].endswith("Z")
    assert made["owner"] == "token:labo"
    again = installation.run("token", "create", "labo", code=1)
    assert "owner_taken" in again.err
    plain = installation.run("token", "create", "labo", "--owner", "token:labo")
    assert plain.out.count("\n") == 1
    for token in (made["token"], plain.out.strip()):
        with server.http(token) as http:
            assert ok(http.get("/api/v1/me"), 200)["name"] == "labo"
    owners = {token["id"]: token["owner"] for token in installation.run("token", "list", "--json").json["tokens"]}
    assert list(owners.values()).count("token:labo") == 2
    assert "token:labo" in installation.run("token", "list").out


def test_an_operator_sees_deletes_and_withdraws_without_an_account(shop):
    installation, _, http, _ = shop
    share, other = send(http, label="mine"), send(http)
    listed = installation.run("transfer", "list", "--json").json["transfers"]
    assert {share.transfer_id, other.transfer_id} <= {one["id"] for one in listed}
    shown = installation.run("transfer", "show", share.transfer_id, "--json").json
    assert (shown["label"], shown["shares"][0]["id"]) == ("mine", share.id)
    installation.run("share", "revoke", share.id)
    installation.run("transfer", "delete", other.transfer_id)
    states = [installation.run("transfer", "show", it.transfer_id, "--json").json for it in (share, other)]
    assert [states[0]["shares"][0]["state"], states[1]["ending"]] == ["withdrawn", "deleted"]
    events = {entry["event"]: entry["actor"] for entry in installation.run("audit", "log", "--json").json["entries"]}
    assert events["share.withdrawn"] == "operator"


def test_share_issue_speaks_http_and_needs_no_data_folder(shop, tmp_path):
    """From a depositor's own machine: nothing but an address, a token and the client key, which it can ask for."""
    _, server, http, token = shop
    share = send(http, b"content")
    elsewhere = Installation(tmp_path, SERVER=server.origin, TOKEN=token)
    issued = elsewhere.run("share", "issue", share.transfer_id, "--to", "ARS", "--json", CLIENT_KEY=share.client_key)
    assert set(issued.json) == {"share_id", "link", "password", "expires_at"}
    typed = elsewhere.run("share", "issue", share.transfer_id, "--to", "ARS", typed=f"{share.client_key}\n")
    assert "/s/" in typed.out
    assert share.client_key not in typed.out + typed.err, "what is typed is not shown"
    assert not elsewhere.data.exists()
    body = {"link_secret": issued.json["link"].partition("#")[2], "password": issued.json["password"]}
    assert ok(http.post(f"/api/v1/shares/{issued.json['share_id']}/claim", json=body), 200)


@pytest.mark.parametrize(
    ("instead", "said", "code"),
    [
        ({"CLIENT_KEY": wrong_secret()}, "wrong_client_key", 1),
        ({"TOKEN": "cad_x"}, "not_authenticated", 1),
        ({"CLIENT_KEY": "é"}, "a client key has", 2),
        ({"TOKEN": "cad_é"}, "CADUCEE_TOKEN", 2),
        ({"TOKEN": ""}, "CADUCEE_TOKEN", 2),
        ({"SERVER": "http://127.0.0.1:1"}, "cannot be reached", 75),
        ({"SERVER": "http://[::1"}, "address", 2),
        ({"SERVER": "http://files.example.org"}, "https", 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_share_issue_tells_what_is_wrong_in_one_line(shop, instead, said, code):
    installation, server, http, token = shop
    transfer, key = open_transfer(http)
    ok(add_file(http, transfer, key, b"x"), 201)
    settings = {"SERVER": server.origin, "TOKEN": token, "CLIENT_KEY": key} | instead
    ran = installation.run("share", "issue", transfer, "--to", "ARS", "--json", code=None, **settings)
    assert ran.code == code
    assert ran.out == ""
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert key not in ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("transfer show nosuch", 1),
        ("share revoke nosuch", 1),
        ("token revoke nosuch", 1),
        ("token create x --role king", 2),
        ("token create x --owner labo", 1),
        ("nonsense", 2),
        ("transfer show", 2),
    ],
)
def test_exit_codes_tell_refused_from_could_not(shop, words, code):
    """0 done, 1 refused or found wanting, 2 could not be done or the command line was wrong."""
    installation, _, _, _ = shop
    ran = installation.run(*words.split(), code=code)
    assert ran.out == ""
    assert ran.err
    assert "Traceback" not in ran.err


def test_every_command_has_help_and_every_option_says_what_it_is():
    assert len(TREE) >= 20
    for path, command in TREE.items():
        assert command.help, path
        for option in command.params:
            assert getattr(option, "help", None) or option.name in {"help", "port"}, f"{path} {option.name}"


def test_the_log_tells_the_life_of_a_file_without_naming_it(shop):
    """Lesson 36: the log alone answers what was held and fetched, and holds no file name (CNIL 2021-122)."""
    installation, _, http, _ = shop
    share = send(http, b"12345", "DUPONT_VIH.csv", label="Label", recipient="Recipient")
    held = claim(http, share)
    held.get()
    held.complete()
    gone = "SELECT 1 FROM transfers WHERE id = ? AND state = 'verified'"
    until(lambda: installation.rows(gone, share.transfer_id), what="the deletion, which writes entries of its own")
    entries = installation.run("audit", "log", "--json").json["entries"]
    mine = [entry for entry in entries if entry.get("transfer") == share.transfer_id]
    happened = [entry["event"] for entry in mine]
    assert happened[:6] == [
        "transfer.created",
        "file.deposited",
        "share.issued",
        "share.claimed",
        "file.fetched",
        "share.completed",
    ]
    assert (mine[1]["size"], mine[4]["size"]) == (5, 5)
    assert mine[3]["address"] == "127.0.0.1"
    for word in ("DUPONT", "Label", "Recipient", share.secret, share.password):
        assert word not in json.dumps(entries)
    assert [entry["sequence"] for entry in entries] == list(range(len(entries)))
    assert installation.run("audit", "log", "--last", "1", "--json").json["entries"] == entries[-1:]
