"""The scheduler with a user of its own, and processes that face the network as another: real users, real processes.

Lessons 38 and 39. What the network's user does here, it does with arbitrary code: Python as that user, with the
program's own modules and settings.
"""

import json
import os
import shutil
import stat
import tempfile
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.service import QUICK, free_port, until
from tests.other_users import GROUP, NETWORK, SCHEDULER, OtherUsers, other_users

pytestmark = [pytest.mark.slow, pytest.mark.external]


class House:
    """An installation with separate users: a scheduler and a server, each of its own user."""

    def __init__(self, folder, users):
        self.folder, self.users = folder, users
        self.data, self.vault = folder / "data", folder / "vault"
        for place in (self.data, self.vault):
            place.mkdir()
            os.chown(place, SCHEDULER, GROUP)
            place.chmod(0o2750)
        self.origin = f"http://127.0.0.1:{free_port()}"
        self.settings = QUICK | {
            "CADUCEE_SEPARATE_USERS": "1",
            "CADUCEE_DATA_DIR": str(self.data),
            "CADUCEE_VAULT": str(self.vault),
            "CADUCEE_PUBLIC_URL": self.origin,
        }
        self.log = folder / "log"
        self.probe = httpx.Client(base_url=self.origin, trust_env=False)

    def start(self):
        """The server first: service managers start both at once."""
        port = self.origin.rpartition(":")[2]
        arguments = ["-m", "cli", "serve", "--port", port, "--workers", "2"]
        self.server = self.users.start(NETWORK, arguments, self.settings, self.log)
        self.scheduler = self.users.start(SCHEDULER, ["-m", "scheduler"], self.settings, self.log)
        until(self.is_ready, seconds=60, what=f"readiness; {self.log}")
        made = self.command(NETWORK, "token", "create", f"lab {time.monotonic()}", "--role", "staff", "--json")
        token = json.loads(made.stdout)["token"]
        self.http = httpx.Client(base_url=self.origin, headers={"Authorization": f"Bearer {token}"}, trust_env=False)

    def is_ready(self):
        assert self.server.poll() is None, self.log.read_text()
        assert self.scheduler.poll() is None, self.log.read_text()
        return self.readiness() == []

    def readiness(self):
        """The reasons not to be ready."""
        try:
            return self.probe.get("/readyz").json()["reasons"]
        except httpx.TransportError:
            return ["not there"]

    def command(self, user, *arguments):
        """Run `caducee <arguments>`."""
        return self.users.run(user, ["-m", "cli", *arguments], self.settings)

    def as_network(self, code):
        """Run Python code as the network's user. Returns what it printed, as JSON."""
        ran = self.users.run(NETWORK, ["-c", textwrap.dedent(code)], self.settings)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def send(self, expires_in="1h"):
        answer = self.http.put(f"/api/v1/send/a?recipient=x&expires_in={expires_in}", content=b"patient")
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def users():
    folder = Path(tempfile.mkdtemp(prefix="caducee-users-"))  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    try:
        yield other_users(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def opened_house(users):
    """A house of its own, ended and removed afterwards."""
    memory = Path("/dev/shm")  # making the vault's hours waits for the disk two thousand times
    with tempfile.TemporaryDirectory(prefix="caducee-house-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        house = House(Path(folder), users)
        try:
            house.start()
            yield house
        finally:
            users.end()
            house.http.close()
            house.probe.close()


@pytest.fixture(scope="module")
def shared(users):
    """A house for tests that leave it as it was."""
    with opened_house(OtherUsers(users.interpreter, users.library)) as house:
        yield house


@pytest.fixture
def house(users):
    """A house for one test."""
    with opened_house(OtherUsers(users.interpreter, users.library)) as house:
        yield house


def test_the_network_s_user_replaces_no_mark_and_reads_no_key(shared):
    """Every way to touch what is the scheduler's fails, and what is to be read can be read."""
    before = {path.name: path.read_bytes() for path in (shared.data / "keys").iterdir() if path.is_file()}
    tried = shared.as_network(
        f"""
        scheduler = {shared.scheduler.pid}
        """
        """
        import json, os, signal
        from pathlib import Path
        from app.runtime.settings import Settings

        settings = Settings()
        keys, vault, marks = settings.signing_dir, settings.vault_dir, settings.vault_dir / "marks"
        hour = sorted(vault.glob("20*"))[5]
        attempts = {
            "read log.key": lambda: (keys / "log.key").read_bytes(),
            "open lock": lambda: (keys / "lock").open(),
            "open log.key": lambda: os.chmod(keys / "log.key", 0o644),
            "overwrite mark": lambda: (marks / "high-water").write_text("x"),
            "remove mark": lambda: (marks / "high-water").unlink(),
            "replace mark": lambda: os.replace(settings.data_dir / "db" / "mine", marks / "high-water"),
            "new mark": lambda: (marks / "purge-time").write_text("x"),
            "move marks": lambda: marks.rename(vault / "others"),
            "mark in the root": lambda: (vault / "high-water").write_text("x"),
            "new hour": lambda: (vault / "2030-01-01T00").mkdir(),
            "move hour": lambda: hour.rename(vault / "2030-01-01T00"),
            "close hour": lambda: hour.chmod(0),
            "checkpoint": lambda: (keys / "checkpoint").write_text("x"),
            "public key": lambda: os.replace(settings.data_dir / "db" / "mine", keys / "log.pub"),
            "vault mark": lambda: (keys / "vault-mark").unlink(),
            "record": lambda: (keys / "own-entries" / "9999.00").write_text("x"),
            "beginning": lambda: (keys / "own-entries" / "since").unlink(),
            "move keys": lambda: keys.rename(settings.data_dir / "k"),
            "forged": lambda: (keys / "forged").unlink(),
            "stop scheduler": lambda: os.kill(scheduler, signal.SIGSTOP),
            "scheduler's memory": lambda: open(f"/proc/{scheduler}/mem", "rb"),
        }
        (settings.data_dir / "db" / "mine").write_text("x")
        done = {}
        for name, attempt in attempts.items():
            try:
                attempt()
            except (PermissionError, FileNotFoundError) as error:
                done[name] = type(error).__name__
            else:
                done[name] = "DONE"
        (settings.data_dir / "db" / "mine").unlink()
        for path in (keys / "log.pub", keys / "checkpoint", marks / "high-water"):
            assert path.read_bytes()
        print(json.dumps(done))
        """
    )
    assert [name for name, outcome in tried.items() if outcome == "DONE"] == []
    assert {name for name, outcome in tried.items() if outcome != "PermissionError"} <= {"forged"}
    assert before.keys() == {path.name for path in (shared.data / "keys").iterdir() if path.is_file()}


READ_MEMORY = """
import json, os
from pathlib import Path

closed = {}
for process in Path("/proc").iterdir():
    if not process.name.isdigit() or int(process.name) in (os.getpid(), os.getppid()):
        continue
    try:
        line, status = (process / "cmdline").read_bytes(), (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        continue
    if (b"serve" in line or b"spawn_main" in line) and f"Uid:\\t{os.getuid()}" in status:
        try:
            open(process / "mem", "rb").close()
        except OSError as error:
            closed[process.name] = type(error).__name__
        else:
            closed[process.name] = "OPEN"
print(json.dumps(closed))
"""


def test_a_process_reads_no_other_s_memory_of_the_same_user(shared):
    """Not a worker's, nor that of `serve` itself: secrets are in flight there. A process that has just been started is
    open until its first lines have run.
    """

    def closed():
        seen = shared.as_network(READ_MEMORY)
        return seen if set(seen.values()) == {"PermissionError"} else None

    seen = until(closed, what="every process closed")
    assert str(shared.server.pid) in seen
    assert len(seen) >= 3


def test_no_receipt_is_signed_for_a_living_transfer(house):
    """The network's user writes the log entries of a deletion itself, as the program would."""
    sent = house.send()
    house.as_network(
        f"""
        from app.db.engine import Database
        from app.domain.audit_events import Entry, Event
        from app.runtime.clock import Clock
        from app.runtime.settings import Settings

        database, now = Database(Settings().database_location), Clock().now()
        with database.writing() as transaction:
            for event in (Event.KEYS_DESTROYED, Event.BYTES_DELETED, Event.TRANSFER_DELETED):
                transaction.log(Entry(event=event, at=now, actor="scheduler", transfer="{sent["transfer_id"]}"))
        print("null")
        """
    )
    refused = house.command(SCHEDULER, "audit", "checkpoint")
    assert (refused.returncode, "and the scheduler did not write it" in refused.stderr) == (1, True), refused.stderr
    assert house.readiness() == ["log_forged"]
    receipt = house.http.get(f"/api/v1/transfers/{sent['transfer_id']}/receipt")
    assert (receipt.status_code, receipt.json()["code"]) != (200, None)
    assert receipt.status_code >= 400
    retention = house.command(NETWORK, "audit", "retention", "--json")
    assert retention.returncode == 2
    assert "log_forged" in json.loads(retention.stdout)["log_forged"]
    assert house.command(NETWORK, "audit", "checkpoint").returncode == 2


def test_nothing_that_the_network_s_user_does_holds_up_the_purge(house):
    """It locks the database for good, and puts folders of its own in the way: the keys go at their second."""
    sent = house.send(expires_in="4s")
    (entry,) = house.vault.glob(f"20*/*.{sent['transfer_id']}")
    hour_key = entry.with_name("hour.key")
    holder = house.users.start(
        NETWORK,
        [
            "-c",
            textwrap.dedent(
                f"""
                import os, sqlite3, time
                from pathlib import Path
                hour = Path({str(entry.parent)!r})
                for name in ("1.stuck", "{int(time.time())}.{"A" * 22}"):
                    (hour / name / "below").mkdir(parents=True, mode=0o700)
                os.symlink("/etc/passwd", hour / ("1." + "B" * 22))
                database = sqlite3.connect({str(house.data / "db" / "caducee.sqlite")!r}, isolation_level=None)
                database.execute("BEGIN EXCLUSIVE")
                time.sleep(60)
                """
            ),
        ],
        house.settings,
        house.log,
    )
    until(lambda: not entry.exists(), seconds=10, what="the end of the key")
    assert holder.poll() is None
    assert hour_key.exists(), "another entry's hour goes on"


def test_a_link_in_place_of_the_database_s_log_leads_the_scheduler_nowhere(house):
    """The folder of the database is the group's: SQLite must not write through a link to the scheduler's files."""
    house.users.end()
    mark, key = house.vault / "marks" / "high-water", house.data / "keys" / "log.key"
    before = mark.read_text(), key.read_text()
    planted = house.as_network(
        f"""
        import os
        database = {str(house.data / "db" / "caducee.sqlite")!r}
        for suffix, target in (("-wal", {str(mark)!r}), ("-shm", {str(key)!r}), ("-journal", {str(key)!r})):
            if os.path.lexists(database + suffix):
                os.unlink(database + suffix)
            os.symlink(target, database + suffix)
        print("true")
        """
    )
    assert planted
    assert house.command(SCHEDULER, "sweep").returncode != 0
    assert (mark.read_text(), key.read_text()) == before


@pytest.mark.parametrize("user", [SCHEDULER, 0], ids=["the scheduler's user", "root"])
def test_serve_does_not_start_where_it_could_do_the_scheduler_s_work(shared, user):
    refused = shared.command(user, "serve", "--port", str(free_port()))
    assert refused.returncode == 2
    assert "users_not_separate" in refused.stderr


@pytest.mark.parametrize("place", ["data", "vault", "vault/marks", "data/keys"])
def test_serve_does_not_start_where_it_could_replace_a_folder(shared, place):
    """The user need not own a mark to replace it: a folder above is enough."""
    folder = shared.folder / place
    before = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(0o2770)
    try:
        refused = shared.command(NETWORK, "serve", "--port", str(free_port()))
    finally:
        folder.chmod(before)
    assert (refused.returncode, "users_not_separate" in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("sweep",),
        ("keys", "expire"),
        ("clock", "accept"),
        ("audit", "prune"),
        ("doctor", "--reconcile"),
        ("scheduler",),
    ],
    ids=" ".join,
)
def test_commands_of_the_scheduler_refuse_the_network_s_user(shared, command):
    refused = shared.command(NETWORK, *command)
    assert refused.returncode == 2 if command != ("scheduler",) else refused.returncode != 0
    assert "only the scheduler's user" in refused.stderr


def test_every_file_is_the_group_s_and_nobody_else_s(shared):
    """Whatever the umask that the processes were started with."""
    shared.send()
    modes = {
        path.relative_to(shared.folder): stat.S_IMODE(path.lstat().st_mode)
        for place in (shared.data, shared.vault)
        for path in (place, *place.rglob("*"))
    }
    assert [path for path, mode in modes.items() if mode & 0o007] == []
    assert {mode for path, mode in modes.items() if path.match("vault/20*/*")} == {0o660}
    assert {mode for path, mode in modes.items() if path.match("vault/20*")} == {0o2770}
    assert {mode for path, mode in modes.items() if path.match("data/db/*") and path.suffix != ".sqlite-reserve"} == {
        0o660
    }
    assert modes[Path("data/db")] == modes[Path("data/blobs")] == 0o2770
    assert modes[Path("data/keys/log.key")] == 0o600
    hours = list(shared.vault.glob("20*"))
    assert len(hours) >= 32 * 24


def test_an_hour_that_is_missing_is_made_again(house):
    """As after `lockdown destroy-all-keys`: without it no deposit that ends in it would ever succeed again."""
    last = max(house.vault.glob("20*"))
    shutil.rmtree(last)
    house.users.end()
    house.users.started.clear()
    house.start()
    assert last.is_dir()
    house.send()
