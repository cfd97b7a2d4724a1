"""Root runs a command of a service that belongs to another user: nothing is left that the service cannot read.

Lesson 49: as in lamb #831, where root ran a command once, and the service could not read its own files. Real users and
processes.
"""

import os
import shutil
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.acceptance.service import QUICK, free_port, until
from tests.other_users import GROUP, NETWORK, SCHEDULER, OtherUsers, other_users

pytestmark = [pytest.mark.slow, pytest.mark.external]

OWNER, ROOT = NETWORK, 0


@pytest.fixture(scope="module")
def users():
    folder = Path(tempfile.mkdtemp(prefix="caducee-users-"))
    folder.chmod(0o755)
    try:
        yield other_users(folder)
    finally:
        shutil.rmtree(folder)


class Place:
    """A folder of the service's user, without separate users."""

    def __init__(self, users: OtherUsers, folder: Path) -> None:
        self.users, self.home = users, folder / "home"
        self.data = self.home / "data"
        self.home.mkdir()
        os.chown(self.home, OWNER, GROUP)
        self.port = free_port()
        self.settings = QUICK | {
            "CADUCEE_DATA_DIR": str(self.data),
            "CADUCEE_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
        }

    def run(self, *arguments, user=ROOT, code=0, **settings):
        extra = {f"CADUCEE_{name}": value for name, value in settings.items()}
        ran = self.users.run(user, ["-m", "cli", *arguments], self.settings | extra)
        assert ran.returncode == code, ran.stderr + ran.stdout
        assert "Traceback" not in ran.stderr
        return ran

    def serve(self, user):
        """Start the service and wait until it is ready."""
        log = self.home.parent / f"log-{user}"
        serving = self.users.start(
            user, ["-m", "cli", "serve", "--port", str(self.port), "--workers", "2"], self.settings, log
        )

        def ready():
            assert serving.poll() is None, log.read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).is_success
            except httpx.TransportError:
                return False

        until(ready, seconds=60, what="readiness")
        return serving

    def owners(self):
        return {path.lstat().st_uid for path in (self.data, *self.data.rglob("*"))}


@pytest.fixture
def place(users):
    memory = Path("/dev/shm")  # many commands, each waiting for the disk
    with tempfile.TemporaryDirectory(prefix="caducee-place-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        mine = OtherUsers(users.interpreter, users.library)
        try:
            yield Place(mine, Path(folder))
        finally:
            mine.end()


@pytest.mark.timeout(300)
def test_root_s_commands_leave_files_of_the_service_s_user(place):
    """From the first, which makes the folders, to those that write marks, keys, the reserve and the WAL."""
    place.run("db", "upgrade")
    assert place.owners() == {OWNER}
    for words in (
        ["sweep"],
        ["token", "create", "laboratory"],
        ["intake", "on"],
        ["keys", "expire"],
        ["doctor", "--reconcile"],
        ["audit", "new-log", "--reason", "key_exposed"],
    ):
        place.run(*words)
        assert place.owners() == {OWNER}, words
    assert (place.data / "keys" / "log.key").exists()
    page = place.home.parent / "page.html"
    place.run("audit", "exposure", "--from", "2026-01-01", "--html", str(page))
    assert page.stat().st_uid == ROOT, "the caller's"
    place.serve(OWNER)


def test_serve_started_by_root_becomes_the_owner(place):
    """With its scheduler and workers; then the owner can start it."""
    place.run("db", "upgrade", user=OWNER)
    serving = place.serve(ROOT)
    status = Path(f"/proc/{serving.pid}/status").read_text()
    assert f"Uid:\t{OWNER}\t{OWNER}\t{OWNER}\t{OWNER}" in status
    assert f"Gid:\t{GROUP}" in status
    assert place.owners() == {OWNER}
    place.users.end()
    place.users.started.clear()
    place.serve(OWNER)


def test_root_refuses_where_the_owners_differ(place):
    """It cannot know which of them is right. Controls that need one store go by that store."""
    place.run("db", "upgrade", user=OWNER)
    os.chown(place.data / "vault", SCHEDULER, GROUP)
    for words in (["sweep"], ["token", "create", "x"], ["serve"]):
        said = place.run(*words, code=2).stderr
        assert f"uid {OWNER}" in said
        assert f"uid {SCHEDULER}" in said
    place.run("lockdown", "on")


def test_root_keeps_what_is_root_s(place):
    """A machine with one user, as in a container."""
    shutil.rmtree(place.home)
    place.home.mkdir()
    place.run("db", "upgrade")
    place.run("sweep")
    assert place.owners() == {ROOT}


def test_with_separate_users_root_makes_no_installation_of_its_own(place):
    os.chown(place.home, ROOT, ROOT)
    for words in (["db", "upgrade"], ["scheduler"], ["serve"]):
        assert "root" in place.run(*words, code=2, SEPARATE_USERS="1").stderr
    assert not place.data.exists()


def test_another_user_is_told_whose_command_it_is(place):
    place.run("db", "upgrade", user=OWNER)
    for words in (["token", "list"], ["sweep"], ["audit", "retention"], ["lockdown", "on"]):
        assert "service's user" in place.run(*words, user=SCHEDULER, code=2).stderr
