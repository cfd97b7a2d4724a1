"""`caducee watch`: each file of a folder arrives once, with one valid link, whatever is killed in between."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.client.errors import HookFailed, ServiceRefused, ServiceUnavailable
from app.client.hooks import Hook
from app.client.http_calls import connect
from app.client.state import ClientState
from app.client.watch_journal import journal_of
from app.client.watch_report import Problem
from app.client.watched_folder import WatchedFolder
from app.client.watching import Order, Watch
from tests.acceptance.people import ok
from tests.acceptance.service import free_port, until
from tests.acceptance.volumes import FILLER, fill, volume
from tests.acceptance.warm_start import PROGRAM
from tests.marks import in_test_all


class Desk:
    """A depositor's machine: a watched folder, and what the two commands were given."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.folder = root, root / "lab"
        (self.folder / "out").mkdir(parents=True)
        monkeypatch.setenv("XDG_STATE_HOME", str(root / "state"))

    @property
    def hooks(self) -> list[str]:
        return ["--on-link", f"tee -a {self.root}/links", "--on-password", f"tee -a {self.root}/passwords"]

    def put(self, name: str, content: bytes = b"a;b\n") -> Path:
        path = self.folder / "out" / name
        path.write_bytes(content)
        return path

    def given(self, kind: str) -> list[dict[str, str]]:
        try:
            return [json.loads(line) for line in (self.root / kind).read_text("utf-8").splitlines()]
        except FileNotFoundError:
            return []

    def names(self, part: str) -> list[str]:
        return sorted(path.name for path in (self.folder / part).iterdir())


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return Desk(tmp_path, monkeypatch)


@pytest.fixture
def watch(house, desk):
    """One run of the command; gives what it printed."""

    def run(*options, code=0, hooks=None, **settings):
        connected = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"]} | settings
        arguments = [desk.folder, "--to", "CPAM 75", "--once", "--json", "--settle", "0", "--expires", "1h"]
        every = [*arguments, *(desk.hooks if hooks is None else hooks), *options]
        return house.installation.run("watch", *map(str, every), code=code, **connected)

    return run


def fetch(house, link, password, folder):
    folder.mkdir(exist_ok=True)
    (folder / ".password").write_text(password)
    house.installation.run("get", link, "-o", str(folder), "--password-file", str(folder / ".password"), "--trust")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".password"}


def test_each_file_is_sent_once_to_one_recipient_by_two_channels(house, desk, watch, tmp_path):
    desk.put("résultats DUPONT.csv", b"1")
    desk.put("b.csv", b"2")
    desk.put("b.csv.ok", b"")
    desk.put("c.csv.part")
    ran = watch()
    assert desk.names("out") == ["c.csv.part"]
    assert desk.names("sent") == ["b.csv", "b.csv.ok", "résultats DUPONT.csv"]
    links, passwords = desk.given("links"), desk.given("passwords")
    assert set(links[0]) == {"transfer_id", "share_id", "recipient", "expires_at", "link"}
    assert [set(each) - set(link) for each, link in zip(passwords, links, strict=True)] == [{"password"}] * 2
    received: dict[str, bytes] = {}
    for link, password in zip(links, passwords, strict=True):
        received |= fetch(house, link["link"], password["password"], tmp_path / "received")
    assert received == {"résultats DUPONT.csv": b"1", "b.csv": b"2"}
    assert [each["name"] for each in ran.json["sent"]] == ["b.csv", "résultats DUPONT.csv"]
    (report,) = (desk.folder / "reports").iterdir()
    assert json.loads(report.read_text("utf-8")) == ran.json
    assert "DUPONT" not in ran.err, "a log of the machine is no place for a patient's name"
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state/**/*") if path.is_file())
    for secret in (links[0]["link"].partition("#sealed.")[2], passwords[0]["password"], house.tokens["staff"]):
        assert secret.encode() not in kept + ran.out.encode() + ran.err.encode() + report.read_bytes()
    assert watch().json["sent"] == []
    assert len(desk.given("links")) == 2


def test_a_batch_is_one_transfer(desk, watch):
    for name in ("a.csv", "b.csv", "c.csv"):
        desk.put(name)
    report = watch("--batch").json
    assert len({each["transfer_id"] for each in report["sent"]}) == 1
    assert len(desk.given("links")) == 1
    assert desk.names("sent") == ["a.csv", "b.csv", "c.csv"]


def test_what_can_never_be_sent_goes_aside_and_the_rest_is_sent(desk, watch, tmp_path):
    desk.put("good.csv")
    desk.put("large.bin", bytes(9 * 1024 * 1024))
    (desk.folder / "out" / "link").symlink_to(tmp_path / "secret")
    report = watch(code=1).json
    assert {each["name"]: each["code"] for each in report["failed"]} == {
        "large.bin": "too_large",
        "link": "not_regular",
    }
    assert desk.names("failed") == ["large.bin", "large.bin.error.json", "link", "link.error.json"]
    assert desk.names("sent") == ["good.csv"]
    assert watch().json["failed"] == [], "said once"


def test_a_link_that_was_handed_over_alone_is_withdrawn_and_another_issued(desk, watch, staff):
    desk.put("a.csv")
    without_password = ["--on-link", desk.hooks[1], "--on-password", "false"]
    assert watch(code=75, hooks=without_password).json["problem"]["code"] == "hook_failed"
    assert desk.names("out") == ["a.csv"]
    watch()
    links = desk.given("links")
    assert links[0]["transfer_id"] == links[1]["transfer_id"], "the file is not sent again"
    shares = ok(staff.get(f"/api/v1/transfers/{links[0]['transfer_id']}"), 200)["shares"]
    states = {share["id"]: share["state"] for share in shares}
    assert states == {links[0]["share_id"]: "withdrawn", links[1]["share_id"]: "issued"}
    assert [each["share_id"] for each in desk.given("passwords")] == [links[1]["share_id"]]


def test_a_file_that_was_fetched_is_not_sent_again(house, desk, watch, tmp_path):
    """The command for the password did its work and failed, or the machine stopped before it could be noted."""
    desk.put("a.csv", b"1")
    late = ["--on-link", desk.hooks[1], "--on-password", f"sh -c 'cat >> {tmp_path}/passwords; exit 1'"]
    watch(code=75, hooks=late)
    (link,), (password,) = desk.given("links"), desk.given("passwords")
    assert fetch(house, link["link"], password["password"], tmp_path / "received") == {"a.csv": b"1"}
    house.installation.run("sent", SERVER=house.server.origin, TOKEN=house.tokens["staff"])  # sees that it has ended
    assert [each["transfer_id"] for each in watch().json["sent"]] == [link["transfer_id"]]
    assert desk.names("sent") == ["a.csv"]
    assert len(desk.given("links")) == 1


def test_a_half_sent_file_goes_to_nobody_else_and_is_sent_anew(desk, watch, staff):
    """The recipient was mistyped, or the export wrote the file again, before link and password were handed over."""
    no_hooks = ["--on-link", desk.hooks[1], "--on-password", "false"]
    desk.put("a.csv")
    watch(code=75, hooks=no_hooks)
    watch("--to", "ARS", code=75, hooks=no_hooks)
    desk.put("a.csv", b"another export")
    watch("--to", "ARS")
    first, second, third = (each["transfer_id"] for each in desk.given("links"))
    states = {each["id"]: each["state"] for each in ok(staff.get("/api/v1/transfers"), 200)["transfers"]}
    assert "live" not in {states[first], states[second]}
    assert states[third] == "live"


def test_an_ended_token_moves_nothing_and_a_person_has_to_act(desk, watch):
    desk.put("a.csv")
    assert watch(code=1, TOKEN="cad_" + "x" * 50).json["problem"]["code"] == "not_authenticated"
    assert watch("--expires", "60d", code=1).json["problem"]["code"] == "lifetime_out_of_range"
    report = watch("--patience", "1s", code=75, SERVER="http://127.0.0.1:1").json
    assert (report["problem"]["code"], report["waiting"]) == ("unavailable", 1)
    assert (desk.names("out"), desk.names("failed")) == (["a.csv"], [])
    watch()
    assert desk.names("sent") == ["a.csv"]


def test_without_once_only_a_refusal_for_good_ends_it(house, desk):
    desk.put("a.csv")
    arguments = ["watch", str(desk.folder), "--to", "A", "--settle", "0", "--json", *desk.hooks]
    ran = house.installation.run(*arguments, code=1, SERVER=house.server.origin, TOKEN="cad_" + "x" * 50)
    assert ran.json["problem"]["code"] == "not_authenticated"
    assert "stays in out/" in ran.err


def test_a_file_that_was_written_again_while_it_was_handed_over_is_sent_too(desk, watch, tmp_path):
    """What lies in `sent` is what was sent."""
    path = desk.put("a.csv", b"1")
    again = ["--on-link", f"sh -c 'cat >> {tmp_path}/links; echo 2 > {path}'", "--on-password", "true"]
    assert [each["moved"] for each in watch(hooks=again).json["sent"]] == [False]
    assert (desk.names("out"), desk.names("sent")) == (["a.csv"], [])
    watch()
    assert (desk.folder / "sent" / "a.csv").read_bytes() == b"2\n"
    assert len({each["transfer_id"] for each in desk.given("links")}) == 2


def test_a_token_that_ends_soon_is_announced(house, desk, watch):
    made = house.installation.run("token", "create", desk.root.name, "--expires", "10d", "--json").json
    ran = watch(TOKEN=made["token"])
    assert made["expires_at"] not in ran.err, "nothing was asked of the service"
    desk.put("a.csv")
    ran = watch(TOKEN=made["token"])
    assert ran.json["token_expires_at"] == made["expires_at"]
    assert made["expires_at"] in ran.err


def test_a_folder_is_watched_once_and_by_who_knows_what_was_sent(desk, watch, tmp_path, monkeypatch):
    desk.put("a.csv")
    watch()
    with journal_of(desk.folder, ClientState()):
        assert f"process {os.getpid()}" in watch(code=75).err
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-root"))
    assert "was watched by" in watch(code=2).err
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (desk.folder / ".caducee-watch").unlink()
    assert "mount" in watch(code=2).err, "an empty mount point is no fresh folder"


def test_without_both_commands_nothing_begins(desk, watch):
    """A link or a password with no way to go would have to be stored."""
    desk.put("a.csv")
    for missing in (desk.hooks[:2], desk.hooks[2:], [*desk.hooks[:2], "--on-password", "no-such-program"]):
        watch(code=2, hooks=missing)
    assert not (desk.root / "links").exists()


@pytest.mark.parametrize(
    ("error", "code", "is_final"),
    [
        (ServiceRefused("403 and no JSON", status=403), "unavailable", False),
        (ServiceUnavailable("busy", "busy", 503), "busy", False),
        (ServiceRefused("ended", "transfer_ended", 410), "transfer_ended", False),
        (ServiceRefused("no", "not_allowed", 403), "not_allowed", True),
        (HookFailed("--on-link failed"), "hook_failed", False),
        (OSError(28, "No space left on device", "/lab/out/DUPONT.csv"), "no_access", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_problem_needs_a_person_only_if_the_service_said_so(error, code, is_final):
    """A proxy that answers HTML, a full disk: what can pass is tried again."""
    problem = Problem.of(error)
    assert (problem.code, problem.is_final) == (code, is_final)
    assert "DUPONT" not in problem.detail


def test_what_cannot_be_moved_aside_holds_up_nothing_else(desk, watch):
    """A folder in `out` that another user made, or a volume, as here."""
    with volume(desk.folder / "out" / "folder", size="1m"):
        for _ in range(2):
            desk.put("good.csv")
            report = watch(code=75).json
            assert ([each["name"] for each in report["sent"]], report["problem"]["code"]) == (["good.csv"], "no_access")
        assert desk.names("failed") == [], "no reason is written for what stays"


def test_a_full_disk_costs_nothing_but_time(house, tmp_path, monkeypatch):
    with volume(tmp_path / "volume", size="1m"):
        desk = Desk(tmp_path / "volume" / "desk", monkeypatch)
        arguments = ["watch", str(desk.folder), "--to", "A", "--once", "--json", "--settle", "0", "--expires", "1h"]
        connected = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"]}
        desk.put("a.csv")
        house.installation.run(*arguments, *desk.hooks, code=1, **connected | {"TOKEN": "cad_" + "x" * 50})
        fill(tmp_path / "volume")
        full = house.installation.run(*arguments, *desk.hooks, code=75, **connected)
        assert "No space left" in full.json["problem"]["detail"]
        assert desk.names("out") == ["a.csv"]
        (tmp_path / "volume" / FILLER).unlink()
        house.installation.run(*arguments, *desk.hooks, **connected)
        assert desk.names("sent") == ["a.csv"]
        assert len(desk.given("links")) == len(desk.given("passwords")) == 1


# --- killed at every step

WRITING = os.O_WRONLY | os.O_RDWR


def run_once(root, origin, token, *, die_at=0, lose=0):
    """Watch once in this process, and die before its step `die_at`: a change of a file, a command, a request, a
    response. Gives the report, and how many steps it took. With `lose`, that response is lost on its way.
    """
    steps = responses = 0

    def answered(_):
        nonlocal responses
        responses += 1
        step()
        if responses == lose:
            raise httpx.ReadError("lost")

    def step(*_):
        nonlocal steps
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event, arguments):
        changes = event in {"os.rename", "os.remove", "os.mkdir", "subprocess.Popen"}
        if changes or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            step()

    link, password = (Hook.parse("--on-x", f"tee -a {root}/{name}") for name in ("links", "passwords"))
    order = Order(root.name, link, password, terms={"expires_in": "1h"}, patience_seconds=60)
    state = ClientState(root / "state")
    with journal_of(root / "lab", state) as journal, connect(origin, token) as http:
        http.event_hooks = {"request": [step], "response": [answered]}
        folder = WatchedFolder(root / "lab", settle_seconds=0)
        if die_at:
            sys.addaudithook(audited)
        return Watch(http, state, (folder, journal), order).once(0), steps


def killed_at(root, origin, token, number):
    """Watch in a process of its own that dies at a step; None, or how many steps it took if that was not reached."""
    pid = os.fork()
    if pid == 0:
        steps = 0
        try:
            steps = run_once(root, origin, token, die_at=number)[1]
        finally:
            os._exit(steps)
    _, status = os.waitpid(pid, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def folder_with_a_file(root):
    (root / "lab" / "out").mkdir(parents=True)
    (root / "lab" / "out" / "a.csv").write_bytes(b"1")
    return root


@pytest.mark.parametrize("stride", [17, in_test_all(1)])
def test_killed_at_any_step_it_sends_each_file_once_with_one_valid_link(house, staff, tmp_path, stride):
    """Some or all steps, and more of the last ones, in which commands and moves take turns."""
    origin, token, name = house.server.origin, house.tokens["staff"], tmp_path.name
    total = killed_at(folder_with_a_file(tmp_path / name), origin, token, 10_000)
    assert 40 < total < 255
    for number in sorted({*range(1, total, stride), *range(total - 14, total + 1, min(stride, 3))}):
        root = folder_with_a_file(tmp_path / f"{name}-{number}")
        assert killed_at(root, origin, token, number) is None, number
        report, _ = run_once(root, origin, token)
        assert report.exit_code == 0, (number, report.document)
        require_one_link(root, staff, number)


@pytest.mark.parametrize("lose", [*map(in_test_all, range(1, 7)), 7, 8])
def test_a_lost_response_is_asked_for_again(house, staff, tmp_path, lose):
    """The last two prepare the share and open it: the first attempt may have been carried out."""
    root = folder_with_a_file(tmp_path / tmp_path.name)
    report, steps = run_once(root, house.server.origin, house.tokens["staff"], lose=lose)
    assert report.exit_code == 0, report.document
    require_one_link(root, staff, steps)


def require_one_link(root, staff, number):
    assert [path.name for path in (root / "lab" / "sent").iterdir()] == ["a.csv"], number
    assert list((root / "lab" / "out").iterdir()) == []
    listed = ok(staff.get("/api/v1/transfers", params={"recipient": root.name}), 200)["transfers"]
    (live,) = [each for each in listed if each["state"] in {"receiving", "live"}]
    (issued,) = [share["id"] for share in live["shares"] if share["state"] == "issued"]
    last = [json.loads((root / kind).read_text("utf-8").splitlines()[-1]) for kind in ("links", "passwords")]
    assert [each["share_id"] for each in last] == [issued, issued], number


# --- a server that is restarted, a client that is killed


LEASES = (
    "UPDATE uploads SET part_until = 1 WHERE part IS NOT NULL",
    "UPDATE idempotency_keys SET lease_until = 1 WHERE lease_until IS NOT NULL",
)
"""Those of requests that died with the service are not waited for."""


def progress(desk, process):
    """Whether fewer files wait than now, or none; or nothing will happen any more."""
    before = max(1, len(desk.names("out")))
    return lambda: len(desk.names("out")) < before or process.poll() is not None


def arrive_once(installation, desk, *, files, restarts, seconds):
    """Watch `files` files while the service is killed and started `restarts` times, and the client now and then."""
    dice, port, names = random.Random(files), free_port(), [f"{number:03}.csv" for number in range(files)]
    environment = installation.environment(TOKEN=installation.token(), SERVER=f"http://127.0.0.1:{port}")
    environment["XDG_STATE_HOME"] = str(desk.root / "state")
    arguments = ["watch", desk.folder, "--to", "A", "--settle", "0", "--expires", "2h", *desk.hooks]
    for name in names:
        desk.put(name, name.encode() * 100)
    left, killed, process = restarts, 0, None
    try:
        while desk.names("out") or left:
            with installation.serving("--port", str(port)) as server:
                if process is None or dice.random() < 0.3:
                    if process is not None:
                        process.kill()
                        process.wait(10)
                    process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=environment)
                if left:
                    until(progress(desk, process), seconds=120, what="progress")
                    assert process.poll() is None, "it ended by itself"
                    time.sleep(dice.uniform(0, seconds))
                    left, killed = left - 1, killed + (1 if desk.names("out") else 0)
                    server.kill()
                    for lease in LEASES:
                        installation.alter(lease)
                else:
                    until(lambda: not desk.names("out"), seconds=1200, what="the last file")
        until(lambda: not list(desk.root.glob("state/caducee/watches/*/batch.json")), what="the end of the last batch")
    finally:
        if process is not None:
            process.kill()
            process.wait(10)
    assert killed > restarts // 2, "otherwise it proves nothing"
    assert desk.names("sent") == names
    assert desk.names("failed") == []
    with_files = "SELECT count(*) FROM transfers t WHERE state = 'live' AND EXISTS (SELECT 1 FROM files f WHERE"
    assert installation.rows(f"{with_files} f.transfer_id = t.id)") == [(files,)]
    issued = {row[0] for row in installation.rows("SELECT id FROM shares WHERE state = 'issued'")}
    assert len(issued) == files, "each arrives once"
    for kind in ("links", "passwords"):
        assert issued <= {each["share_id"] for each in desk.given(kind)}


def test_each_file_arrives_once_while_the_service_is_restarted(installation, desk):
    arrive_once(installation, desk, files=20, restarts=3, seconds=0.3)


@pytest.mark.acceptance
@pytest.mark.timeout(2400)
def test_each_of_500_files_arrives_once_while_the_service_is_restarted_20_times(installation, desk):
    arrive_once(installation, desk, files=500, restarts=20, seconds=2.0)
