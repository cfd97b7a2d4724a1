"""`caducee send`, `sent` and `get`, as people start them: what goes in comes out, whatever is killed in between."""

import json
import os
import pty
import random
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from app.client.fetching import Fetching
from app.client.link import Link
from app.client.sealed_transfer import SealedTransfer
from app.client.state import ClientState
from app.client.watcher import Watcher
from app.domain.file_meta import FileMeta
from tests.acceptance.people import issue, key_header, ok, open_transfer
from tests.acceptance.service import free_port, until
from tests.acceptance.tus import nonces_in, random_content, record_nonces
from tests.acceptance.warm_start import PROGRAM


@pytest.fixture
def caducee(house, tmp_path, monkeypatch):
    """The command, as somebody runs it who uses the shared service."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    connected = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"]}

    def run(*arguments, typed=None, code=0, **settings):
        return house.installation.run(*map(str, arguments), typed=typed, code=code, **(connected | settings))

    return run


def sent_to(caducee, *paths, to="CPAM 75"):
    answer = caducee("send", *paths, "--to", to, "--expires", "1h", "--json", "--allow-empty").json
    return answer, answer["shares"][0]


def fetch(caducee, share, folder, tmp_path, *, code=0):
    (tmp_path / "password").write_text(share["password"])
    arguments = ["get", share["link"], "-o", folder, "--password-file", tmp_path / "password", "--trust"]
    return caducee(*arguments, code=code)


def contents(folder):
    files = (path for path in Path(folder).rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_is_sent_is_what_is_fetched(caducee, staff, tmp_path):
    target = tmp_path / "received"
    files = {"export/résultats.csv": b"a;b\n", "export/empty": b"", "large.bin": random.Random(2).randbytes(3_000_001)}
    written(tmp_path, files)
    answer, share = sent_to(caducee, tmp_path / "export", tmp_path / "large.bin")
    assert "#sealed." in share["link"]
    shown = {"/".join(filter(None, (file.get("path"), file["name"]))): file["size"] for file in answer["files"]}
    assert shown == {name: len(content) for name, content in files.items()}
    assert "issued" in caducee("sent").out
    assert "export/résultats.csv" in caducee("sent", "--json").json["transfers"][-1]["names"]
    written(target, {"export/empty": b"was here before"})
    fetch(caducee, share, target, tmp_path)
    assert contents(target) == {**files, "export/empty": b"was here before", "export/empty (2)": b""}
    assert "completed" in caducee("sent").out
    shown = ok(staff.get(f"/api/v1/transfers/{answer['transfer_id']}"), 200)
    assert shown["shares"][0]["state"] == "completed"
    again = fetch(caducee, share, tmp_path / "elsewhere", tmp_path)
    assert "already received here" in again.err
    assert str(target / "large.bin") in again.out
    (target / "large.bin").write_bytes(b"changed")
    assert "large.bin" in fetch(caducee, share, target, tmp_path, code=1).err
    assert len(contents(target)) == 4, "nothing was left beside them"
    state = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    for secret in (share["password"], share["link"].partition("#sealed.")[2]):
        assert secret.encode() not in state


def test_a_wrong_password_says_how_many_attempts_are_left(caducee, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    _, share = sent_to(caducee, tmp_path / "a")
    wrong = share | {"password": "0000-0000-0000-0000"}
    for left in (4, 3, 2, 1):
        assert f"locked: {left}" in fetch(caducee, wrong, tmp_path / "got", tmp_path, code=1).err
    for attempt in (wrong, share):
        assert "share_locked" in fetch(caducee, attempt, tmp_path / "got", tmp_path, code=1).err


def test_a_person_is_asked_again_and_may_interrupt(caducee, house, tmp_path):
    """On a terminal: a French yes, a password that cannot be one, a wrong one, then Ctrl-C."""
    (tmp_path / "a").write_bytes(b"x")
    _, share = sent_to(caducee, tmp_path / "a")
    environment = house.installation.environment() | {"XDG_STATE_HOME": str(tmp_path / "state")}
    get, terminal = pty.fork()
    if not get:
        os.execve(PROGRAM, [PROGRAM, "get", share["link"], "-o", str(tmp_path / "got")], environment)  # noqa: S606
    shown = ""
    for expected, typed in (
        ("[y/n]", "oui\n"),
        ("Password:", "\n"),
        ("no attempt was used", "1234\n"),
        ("no attempt was used", "0000-0000-0000-0000\n"),
        ("locked: 4", "\x03"),
        ("interrupted; start the same command again to go on", ""),
    ):
        seen = ""
        while expected not in seen or (typed != "oui\n" and typed and "Password:" not in seen):
            seen += os.read(terminal, 4096).decode()
        os.write(terminal, typed.encode())
        shown += seen
    _, status = os.waitpid(get, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert "Traceback" not in shown
    assert share["password"] not in shown


def test_opened_is_not_fetched_and_no_unfinished_file_outlives_its_share(caducee, house, staff, tmp_path):
    """A `get` stops in the middle, then one in another folder; the share ends: `sent` removes what lies in both."""

    class Stopped(BaseException):
        """Nothing catches it: the client leaves the disk as a kill does."""

    def stop(_index, _bytes):
        raise Stopped

    (tmp_path / "a.bin").write_bytes(random.Random(8).randbytes(6_000_000))
    _, share = sent_to(caducee, tmp_path / "a.bin")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with httpx.Client(base_url=house.server.origin) as http:
            link, watcher = Link.parse(share["link"]), Watcher(moved=stop)
            fetching = Fetching(http, ClientState(), link, folder=tmp_path / name, watcher=watcher)
            with pytest.raises(Stopped):
                fetching.run(share["password"])
    listed = caducee("sent", "--json").json["transfers"][-1]["shares"][0]
    assert listed["opened_at"]
    assert listed["fetched_at"] is None
    assert len(list(tmp_path.rglob("*.part"))) == 2, "the share is open: a start in the same folder goes on"
    ok(staff.delete(f"/api/v1/shares/{share['share_id']}"), 204)
    caducee("sent")
    assert not list(tmp_path.rglob("*.part"))
    assert not ClientState().claims()


def test_what_nobody_means_to_send_is_not_sent(caducee, tmp_path):
    """An empty export, files of the system; and the same files again are noticed."""
    written(tmp_path / "export", {"a.csv": b"x", ".DS_Store": b"x", "~$b.docx": b"x", "sub/c.csv.part": b"x"})
    arguments = ["send", tmp_path / "export", "--to", "CPAM 75", "--json"]
    first = caducee(*arguments)
    assert [file["name"] for file in first.json["files"]] == ["a.csv"]
    assert first.err.count("left out") == 3
    assert "sent already" not in first.err
    assert first.json["transfer_id"] in caducee(*arguments).err
    named = caducee("send", tmp_path / "export" / ".DS_Store", "--to", "CPAM 75", "--json").json
    assert [file["name"] for file in named["files"]] == [".DS_Store"]
    (tmp_path / "export" / "empty.csv").write_bytes(b"")
    assert "export/empty.csv" in caducee(*arguments, code=2).err


def written(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


FOLDERS = {
    "Études 2026/CT/1.dcm": b"1",
    "Études 2026/CT/série 2/1.dcm": b"2",
    "Études 2026/MR/1.dcm": b"3",
    "Études 2026/ct/1.dcm": b"4",
    "Études 2026/nul.d/a:b.csv": b"5",
    f"{'/'.join('d' * 200)}/deep": b"6",
}
RESTORED = dict(zip(FOLDERS, [
    "Études 2026/CT/1.dcm",
    "Études 2026/CT/série 2/1.dcm",
    "Études 2026/MR (2)/1.dcm",  # a link stands in its place
    "Études 2026/ct (2)/1.dcm",  # Windows and macOS would put both into one folder
    "Études 2026/_nul.d/a_b.csv",
    f"{'/'.join('d' * 200)}/deep",
], strict=True))  # fmt: skip


@pytest.mark.parametrize("sealed", [True, False])
def test_folders_come_back_below_the_recipients_folder(caducee, staff, tmp_path, sealed):
    """Lesson 26: never through a link that stands there; names that a disk cannot take are cleaned."""
    source, target, outside = (tmp_path / name for name in ("source", "received", "outside"))
    written(source, FOLDERS)
    outside.mkdir()
    (target / "Études 2026").mkdir(parents=True)
    (target / "Études 2026/MR").symlink_to(outside)
    if sealed:
        _, share = sent_to(caducee, source / "Études 2026", source / "d")
    else:
        transfer, key = open_transfer(staff)
        for name, content in FOLDERS.items():
            above, _, file = name.rpartition("/")
            path = f"/api/v1/transfers/{transfer}/files/{quote(file)}"
            ok(staff.put(path, content=content, headers=key_header(key) | {"Caducee-File-Path": quote(above)}), 201)
        issued = issue(staff, transfer, key)
        share = {"link": issued.link, "password": issued.password}
    fetch(caducee, share, target, tmp_path)
    assert contents(target) == {RESTORED[name]: content for name, content in FOLDERS.items()}
    assert list(outside.iterdir()) == []
    assert (target / "Études 2026/CT").stat().st_mode & 0o777 == 0o700


def test_a_second_start_goes_on_in_the_same_folders(caducee, tmp_path):
    files, target = {"export/a/1": b"1", "export/a/2": b"2"}, tmp_path / "received"
    written(tmp_path, files)
    _, share = sent_to(caducee, tmp_path / "export")
    in_the_way = target / f".caducee-{share['share_id']}-1.part"
    in_the_way.mkdir(parents=True)
    fetch(caducee, share, target, tmp_path, code=2)
    assert contents(target) == {"export/a/1": b"1"}
    in_the_way.rmdir()
    fetch(caducee, share, target, tmp_path)
    assert contents(target) == files


def test_a_path_that_leads_elsewhere_is_refused_by_get(caducee, staff, tmp_path):
    """Lesson 26: the service cannot read the path of a sealed file, so whoever restores it checks it (zip slip)."""
    transfer = SealedTransfer.create(staff, expires_in="1h")
    transfer.add(FileMeta("passwd", "text/plain", path="../etc"), [b"x"])
    issued = transfer.issue("A")
    target = tmp_path / "received"
    shown = {"link": issued.link.text(), "password": issued.password}
    assert "invalid_file_path" in fetch(caducee, shown, target, tmp_path, code=1).err
    assert contents(target) == {}
    assert not (tmp_path / "etc").exists()


def test_link_and_password_into_two_files(caducee, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x")
    link, password = tmp_path / "link", tmp_path / "password"
    arguments = ["send", tmp_path / "a.csv", "--to", "A", "--link-file", link, "--password-file", password]
    done = caducee(*arguments)
    assert link.read_text().strip() not in done.out
    assert password.read_text().strip() not in done.out
    assert {path.stat().st_mode & 0o777 for path in (link, password)} == {0o600}
    assert "exists" in caducee(*arguments, code=2).err


def test_a_link_that_was_not_shown_is_withdrawn_and_another_issued(caducee, house, staff, tmp_path):
    """Also hours later, when the first answer counts as received."""
    (tmp_path / "a.csv").write_bytes(b"x")
    arguments = ["send", tmp_path / "a.csv", "--to", "A", "--expires", "1h", "--json"]
    caducee(*arguments, "--link-file", tmp_path / "missing" / "link", code=2)
    (begun,) = {path.stem for path in (tmp_path / "state" / "caducee" / "sent").iterdir()}
    made = "UPDATE idempotency_keys SET made_at = made_at - ? WHERE transfer_id = ?"
    house.installation.alter(made, 2 * 3_600_000_000, begun)
    answer = caducee(*arguments).json
    assert answer["transfer_id"] == begun, "the file is not sent again"
    states = {each["id"]: each["state"] for each in staff.get(f"/api/v1/transfers/{begun}").json()["shares"]}
    (shown,) = answer["shares"]
    assert states.pop(shown["share_id"]) == "issued"
    assert set(states.values()) == {"withdrawn"}


def test_an_ended_token_costs_nothing_of_what_was_sent(caducee, house, tmp_path):
    """The record and the client key stay for another token of the same owner."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"x")
    caducee("send", path, "--to", "A", "--link-file", tmp_path / "missing" / "link", code=2)
    kept = {each: each.read_bytes() for each in (tmp_path / "state").rglob("*.json")}
    assert kept
    caducee("send", path, "--to", "A", code=1, TOKEN="cad_" + "x" * 50)
    assert {each: each.read_bytes() for each in (tmp_path / "state").rglob("*.json")} == kept


def test_nothing_is_sent_or_fetched_without_tls(caducee, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x")
    said = caducee("send", tmp_path / "a.csv", "--to", "A", code=2, SERVER="http://files.example.org").err
    assert "https" in said
    link = f"http://files.example.org/s/{'A' * 22}#sealed.{'A' * 43}"
    (tmp_path / "password").write_text("0000-0000-0000-0000")
    assert "https" in caducee("get", link, "--trust", "--password-file", tmp_path / "password", code=2).err


def test_what_an_earlier_run_left_damaged_is_fetched_again(caducee, tmp_path):
    """A power cut may leave zeros where bytes were written: the whole file is compared before it gets its name."""
    content, target = random.Random(4).randbytes(300_000), tmp_path / "received"
    (tmp_path / "a.bin").write_bytes(content)
    target.mkdir()
    _, share = sent_to(caducee, tmp_path / "a.bin")
    part = target / f".caducee-{share['share_id']}-0.part"
    part.write_bytes(bytes(200_000))
    part.chmod(0o644)
    assert "others can read" in fetch(caducee, share, target, tmp_path, code=2).err, "somebody else may have made it"
    part.chmod(0o600)
    fetch(caducee, share, target, tmp_path)
    assert contents(target) == {"a.bin": content}


def test_nothing_unfinished_stays_of_a_share_that_ended(caducee, staff, tmp_path):
    """Bytes that can never be completed are patients' data nobody looks for."""
    (tmp_path / "a.bin").write_bytes(bytes(300_000))
    target = tmp_path / "received"
    target.mkdir()
    _, share = sent_to(caducee, tmp_path / "a.bin")
    (target / f".caducee-{share['share_id']}-0.part").write_bytes(bytes(200_000))
    ok(staff.delete(f"/api/v1/shares/{share['share_id']}"), 204)
    assert "share_withdrawn" in fetch(caducee, share, target, tmp_path, code=1).err
    assert contents(target) == {}


def test_what_cannot_be_sent_is_refused_before_anything_is(caducee, staff, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(9 * 1024 * 1024))
    (tmp_path / "b\nc").write_bytes(b"x")
    before = len(ok(staff.get("/api/v1/transfers"), 200)["transfers"])
    for name, why in (
        ("none", "no such file"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("large", "more than"),
        ("b\nc", "name"),
    ):
        assert why in caducee("send", tmp_path / name, "--to", "A", code=2).err, name
    assert "twice" in caducee("send", tmp_path / "a", "--to", "A", "--to", "A", code=2).err
    assert len(ok(staff.get("/api/v1/transfers"), 200)["transfers"]) == before


def test_a_server_that_is_down_means_try_again(caducee, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    caducee("send", tmp_path / "a", "--to", "A", "--patience", "1s", code=75, SERVER="http://127.0.0.1:1")
    caducee("send", tmp_path / "a", "--to", "A", code=2, SERVER="")


def test_a_new_server_is_asked_for_once(caducee, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    for typed, code in (("n\n", 1), ("y\n", 0), ("", 0)):
        _, share = sent_to(caducee, tmp_path / "a")
        (tmp_path / "password").write_text(share["password"])
        arguments = ["get", share["link"], "-o", tmp_path, "--password-file", tmp_path / "password"]
        caducee(*arguments, typed=typed, code=code)


def test_a_file_that_changed_between_two_starts_is_sent_anew(caducee, house, staff, tmp_path):
    """What was encrypted is never encrypted again with other bytes; the first transfer ends."""
    path = tmp_path / "a.bin"
    path.write_bytes(random.Random(1).randbytes(7_000_000))
    before = receiving(staff)
    arguments = ["send", path, "--to", "A", "--expires", "1h"]
    environment = house.installation.environment(SERVER=house.server.origin, TOKEN=house.tokens["staff"])
    (begun,) = interrupted(environment, *arguments, after=lambda: receiving(staff) - before)
    path.write_bytes(b"another content")
    _, share = sent_to(caducee, path, to="A")
    until(lambda: staff.get(f"/api/v1/transfers/{begun}").json()["state"] != "receiving", what="the end of the first")
    target = tmp_path / "received"
    target.mkdir()
    fetch(caducee, share, target, tmp_path)
    assert contents(target) == {"a.bin": b"another content"}


def receiving(staff):
    shown = ok(staff.get("/api/v1/transfers"), 200)["transfers"]
    return {each["id"] for each in shown if each["state"] == "receiving" and each["files"]}


def interrupted(environment, *arguments, after):
    """Kill the command once something is true; answers what that was."""
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=environment, stdout=subprocess.DEVNULL)
    try:
        return until(after, what="the moment to kill", every=0.001)  # a quick send is over within a tenth of a second
    finally:
        process.kill()
        process.wait(10)


def kill_both_again_and_again(installation, nonces, tmp_path, *, size, kills, seconds):
    """Send a file and fetch it, while client and service are killed at random; look that it arrived once and whole."""
    dice, token, port = random.Random(size), installation.token(), free_port()
    path, target, password = tmp_path / "a.bin", tmp_path / "received", tmp_path / "password"
    target.mkdir()
    path.write_bytes(random_content(dice, size))
    environment = installation.environment(TOKEN=token, SERVER=f"http://127.0.0.1:{port}")
    environment |= {"XDG_STATE_HOME": str(tmp_path / "state")}
    commands = [["send", path, "--to", "A", "--expires", "1h", "--json"]]
    left, landed = kills, 0
    while commands:
        with installation.serving("--workers", "1", "--port", str(port)) as server:
            while commands and server.process.poll() is None:
                process = subprocess.Popen([PROGRAM, *map(str, commands[0])], env=environment, stdout=subprocess.PIPE)
                if left:
                    left -= 1
                    time.sleep(dice.uniform(0, seconds))
                    landed += process.poll() is None
                    process.kill()
                    if dice.random() < 0.5:
                        server.kill()
                out, _ = process.communicate(timeout=600)
                assert process.returncode in {0, -signal.SIGKILL}
                ended = installation.rows("SELECT id FROM shares WHERE state = 'completed'")  # killed while it said so
                if process.returncode != 0 and not ended:
                    continue
                if commands.pop()[0] == "send":
                    share, left = json.loads(out)["shares"][0], kills
                    password.write_text(share["password"])
                    commands.append(["get", share["link"], "-o", target, "--password-file", password, "--trust"])
        installation.alter("UPDATE uploads SET part_until = 1 WHERE part IS NOT NULL")  # the lease, not waited for
    assert landed >= kills, "otherwise it proves nothing"
    assert contents(target) == {"a.bin": path.read_bytes()}
    assert installation.rows("SELECT count(*) FROM claims") == [(1,)]
    # A client that goes on encrypts the chunk again that was cut: the same bytes, to the same ciphertext.
    used = set(nonces_in(nonces))
    assert len({nonce for nonce, _ in used}) == len(used), "a nonce was used for two plaintexts"


@pytest.fixture
def nonces(monkeypatch, tmp_path):
    return record_nonces(monkeypatch, tmp_path / "recorder")


def test_client_and_service_killed_at_random(installation, nonces, tmp_path):
    kill_both_again_and_again(installation, nonces, tmp_path, size=30_000_001, kills=2, seconds=0.5)


@pytest.mark.acceptance
@pytest.mark.timeout(2400)
def test_client_and_service_killed_at_random_with_1_gib(installation, nonces, tmp_path):
    kill_both_again_and_again(installation, nonces, tmp_path, size=1 << 30, kills=5, seconds=1.5)
