"""`sudo caducee ...` as deploy/ installs it: the settings of the service, and the right user for each command.

Real users and the real paths, in a mount namespace of its own. Lesson 40.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.acceptance.service import free_port, until
from tests.other_users import GROUP, NETWORK, REPOSITORY, SCHEDULER, other_users

pytestmark = [pytest.mark.slow, pytest.mark.external, pytest.mark.timeout(300)]

WRAPPER = REPOSITORY / "deploy" / "caducee"
NOBODY = 65_534
INSIDE = """
mount --bind "$0/etc" /etc
mount --bind "$0/opt" /opt
mount --bind "$1" /var/lib
shift
exec "$@"
"""
SETTINGS = """\
# as in docs/operations.md
CADUCEE_ORGANISATION="Hôpital d'Exemple"
CADUCEE_CONTACT=$(touch {folder}/run) & friends
CADUCEE_MIN_FREE_BYTES=1000

; the end
CADUCEE_PUBLIC_URL='{origin}'"""


class Host:
    """A machine on which the service was installed as docs/operations.md says."""

    def __init__(self, folder, stores):
        self.folder, self.stores = folder, stores
        self.data, self.vault = stores / "caducee", stores / "caducee-vault"
        users = other_users(folder)
        self.port = free_port()
        shutil.copytree("/etc", folder / "etc", symlinks=True, ignore=shutil.ignore_patterns("*-", "ssl"))
        with (folder / "etc/passwd").open("a") as passwd:
            passwd.write(f"caducee:x:{NETWORK}:{GROUP}::/nonexistent:/usr/sbin/nologin\n")
            passwd.write(f"caducee-scheduler:x:{SCHEDULER}:{GROUP}::/nonexistent:/usr/sbin/nologin\n")
        with (folder / "etc/group").open("a") as group:
            group.write(f"caducee:x:{GROUP}:caducee-scheduler\n")
        self.settings = folder / "etc/caducee/caducee.env"
        self.settings.parent.mkdir(mode=0o750)
        self.configure(SETTINGS.format(folder=folder, origin=f"http://127.0.0.1:{self.port}"))
        os.chown(self.settings.parent, 0, GROUP)
        program = folder / "opt/caducee/bin/caducee"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nPYTHONPATH={users.library} exec {users.interpreter} -m cli "$@"\n')
        program.chmod(0o755)
        for place in (self.data, self.vault):
            place.mkdir(parents=True)
            os.chown(place, SCHEDULER, GROUP)
            place.chmod(0o2750)
        shutil.copy(WRAPPER, folder / "opt/wrapper")
        (folder / "opt/wrapper").chmod(0o755)

    def configure(self, text):
        self.settings.write_text(text, encoding="utf-8")
        os.chown(self.settings, 0, GROUP)
        self.settings.chmod(0o640)

    def command(self, *arguments, user=0):
        """The command line, from root's shell or that of another user."""
        become = [] if user == 0 else ["setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups"]
        inside = ["unshare", "--mount", "sh", "-eu", "-c", INSIDE, str(self.folder), str(self.stores)]
        return [*inside, *become, "/opt/wrapper", *arguments]

    def run(self, *arguments, user=0, code=0, **variables):
        environment = {"PATH": os.environ["PATH"], "CADUCEE_DATA_DIR": "/wrong", "CADUCEE_DEADMAN": "nonsense"}
        environment |= variables
        ran = subprocess.run(
            self.command(*arguments, user=user),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == code, ran.stderr + ran.stdout
        assert "Traceback" not in ran.stderr
        return ran

    def owners(self):
        return {path.lstat().st_uid for root in (self.data, self.vault) for path in (root, *root.rglob("*"))}


@pytest.fixture(scope="module")
def host():
    memory = Path("/dev/shm")  # making the vault's hours waits for the disk two thousand times
    with (
        tempfile.TemporaryDirectory(prefix="caducee-host-") as folder,
        tempfile.TemporaryDirectory(prefix="caducee-host-", dir=memory if memory.is_dir() else None) as stores,
    ):
        Path(folder).chmod(0o755)
        Path(stores).chmod(0o755)
        host = Host(Path(folder), Path(stores))
        host.run("db", "upgrade")
        yield host


def test_what_root_runs_belongs_to_the_service(host):
    """The scheduler's user, which owns the stores; a report that root asks for is root's."""
    host.run("token", "create", "laboratory", "--expires", "1d")
    host.run("sweep")
    host.run("audit", "checkpoint")
    host.run("lockdown", "on")
    host.run("lockdown", "off")
    host.run("doctor")
    host.run("audit", "exposure", "--from", "2026-01-01", "--html", "page.html")
    assert host.owners() == {SCHEDULER}
    page = host.folder / "page.html"
    assert (page.stat().st_uid, page.read_text()[:9].lower()) == (0, "<!doctype")


def test_the_settings_are_the_service_s_and_nothing_in_them_is_run(host):
    """Neither the caller's variables nor a shell's expansion counts."""
    shown = host.run("config", "show").stdout
    assert "Hôpital d'Exemple" in shown
    assert f"$(touch {host.folder}/run) & friends" in shown
    assert "/var/lib/caducee-vault" in shown
    assert not (host.folder / "run").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CADUCEE_MAX_LIFTIME=1d", "CADUCEE_MAX_LIFETIME"),
        ("CADUCEE_CONTACT", "line 1"),
        ("CADUCEE_CONTACT = x", "line 1"),
        ('CADUCEE_CONTACT="a"b"', "line 1"),
        ("CADUCEE_CONTACT=a\\", "line 1"),
    ],
)
def test_settings_that_cannot_be_read_as_systemd_does_are_refused(host, line, said):
    before = host.settings.read_text()
    host.configure(f"{line}\n{before}")
    try:
        assert said in host.run("token", "list", code=2).stderr
    finally:
        host.configure(before)


def test_settings_that_another_user_may_write_are_refused(host):
    host.settings.chmod(0o660)
    try:
        assert "must belong to root" in host.run("token", "list", code=2).stderr
    finally:
        host.settings.chmod(0o640)


def test_each_user_runs_what_the_table_says(host):
    host.run("sweep", user=SCHEDULER)
    host.run("token", "list", user=SCHEDULER)
    host.run("token", "list", user=NETWORK)
    assert "only the scheduler's user" in host.run("sweep", user=NETWORK, code=2).stderr
    for words in (["token", "list"], ["sweep"], ["serve"], ["config", "show"]):
        assert f"sudo caducee {' '.join(words)}" in host.run(*words, user=NOBODY, code=2).stderr
    assert "Usage" in host.run("--help", user=NOBODY).stdout
    assert host.owners() <= {SCHEDULER, NETWORK}


@pytest.mark.parametrize("command", ["share revoke", "transfer delete"])
def test_a_depositor_ends_over_http_and_root_on_the_machine(host, command):
    """Nothing listens on port 9. Root's own variables do not count."""
    depositor = {"CADUCEE_SERVER": "http://127.0.0.1:9", "CADUCEE_TOKEN": "cad_x"}
    words = [*command.split(), "A" * 22]
    assert "cannot be reached" in host.run(*words, user=NOBODY, code=75, **depositor).stderr
    assert "_not_found)" in host.run(*words, code=1, **depositor).stderr
    assert "sudo caducee" in host.run(*words, user=NOBODY, code=2).stderr


def test_serve_runs_as_the_network_s_user(host):
    host.run("sweep")  # the scheduler's user has set the record up
    with (host.folder / "log").open("w") as log:
        serving = subprocess.Popen(
            host.command("serve", "--port", str(host.port), "--workers", "1"), cwd=host.folder, stderr=log
        )
    try:

        def user():
            status = Path(f"/proc/{serving.pid}/status").read_text().splitlines()
            return [int(each) for line in status if line.startswith("Uid:") for each in line.split()[1:]]

        assert until(lambda: user() == [NETWORK] * 4, what=f"the other user: {host.folder}/log")
        until(lambda: "startup complete" in (host.folder / "log").read_text(), seconds=60, what="the service")
    finally:
        serving.terminate()
        serving.wait(30)
    assert host.owners() <= {SCHEDULER, NETWORK}
