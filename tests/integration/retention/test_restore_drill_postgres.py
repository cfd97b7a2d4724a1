"""The restore drill on backups of PostgreSQL, made by its own programs: dumps and a base backup."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time as clock
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.actions.drill_restore import drill_restore
from app.db.postgres_copy import DumpNotRead
from app.runtime.installation import InstallationMismatch
from app.runtime.postgres_programs import NoPostgresProgram
from tests.acceptance.warm_start import PROGRAM
from tests.integration.actions.stories import events_of, log_of, send, sweep

HOUR = timedelta(hours=1)

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_kind", ["postgres"])]

KINDS = ("custom", "plain", "base")


@pytest.fixture
def programs(postgres_server):
    return postgres_server.programs


@pytest.fixture
def place():
    """A folder that PostgreSQL's user may enter; pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="caducee-drill-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def ended(resources, caller):
    return send(resources, caller, lifetime=HOUR)


@pytest.fixture
def back_up(resources, caller, ended, database_url, programs, place, time):
    """Back up while two transfers are open, one of which then ends; into a folder of its own, with the blobs."""
    send(resources, caller, label="\\N a\\tb \\\\. \\")

    def make(kind):
        folder = place / "restored"
        shutil.copytree(resources.settings.blobs_dir, folder / "blobs")
        folder.chmod(0o755)
        url = make_url(database_url)
        environment = {"PGHOST": str(url.query["host"]), "PGUSER": str(url.username), "PATH": os.defpath}
        command = {
            "base": ["pg_basebackup", "-D", folder / "base", "-X", "stream", "-c", "fast"],
            "custom": ["pg_dump", "-Fc", "-f", folder / "caducee.dump", url.database],
            "plain": ["pg_dump", "-Fp", "-f", folder / "caducee.sql", url.database],
        }[kind]
        command[0] = programs / command[0]
        for own in Path(str(url.query["host"])).glob(".handle_pids.json"):
            own.chmod(0o644)  # the test server's starter writes it as root; a base backup copies the whole folder
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if kind == "base":
            give_away(folder / "base")
        time.pass_by(HOUR)
        sweep(resources)
        return folder

    return make


def give_away(folder):
    """PostgreSQL does not run as root."""
    if os.geteuid() == 0:
        user = pwd.getpwnam("pgserver")
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", folder], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_backup_passes_and_it_is_recorded(resources, back_up, programs, kind):
    folder = back_up(kind)
    for _ in range(2):  # a base backup has changed after the first time
        result = drill_restore(resources, folder, postgres_bin=programs)
        assert (result.transfers, result.ended, result.shares_ended, result.findings) == (2, 1, 1, [])
        assert result.passed
    assert [entry["count"] for entry in log_of(resources, event="drill.passed")] == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_vault_in_the_backup_is_found_wherever_it_lies(resources, back_up, programs, kind):
    folder = back_up(kind)
    inside = folder / "base" / "base" if kind == "base" else folder
    resources.vault.write_mark("{}")
    shutil.copytree(resources.settings.vault_dir, inside / "9")
    archive = shutil.make_archive(str(inside / "16384"), "gztar", resources.settings.vault_dir)
    Path(archive).rename(inside / "packed")
    if kind == "base":
        give_away(folder / "base")
    findings = drill_restore(resources, folder, postgres_bin=programs).findings
    assert any("a file of the vault is in the backup" in finding for finding in findings)
    assert any("packed, encrypted or of unknown kind" in finding for finding in findings)
    assert events_of(resources, event="drill.passed") == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_the_vault_still_has_is_found(resources, back_up, ended, programs, kind):
    from app.crypto.token import new_secret
    from app.domain.vault_entry import EntryName

    folder = back_up(kind)
    resources.vault.create(EntryName(ended.id, ended.transfer.expires_at), new_secret())
    result = drill_restore(resources, folder, postgres_bin=programs)
    assert result.findings == [f"the vault still opens {ended.id}"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_installations_backup_is_refused(resources, back_up, programs, kind):
    folder = back_up(kind)
    with resources.database.writing() as transaction:
        transaction.connection.exec_driver_sql("UPDATE service_state SET installation_id = 'BBBBBBBBBBBBBBBBBBBBBB'")
    with pytest.raises(InstallationMismatch):
        drill_restore(resources, folder, postgres_bin=programs)


def test_a_truncated_backup_has_not_passed(resources, back_up, programs):
    folder = back_up("plain")
    whole = (folder / "caducee.sql").read_bytes()
    at = whole.index(b"COPY public.transfers")
    (folder / "caducee.sql").write_bytes(whole[: whole.index(b"\n", at) + 40])
    with pytest.raises(DumpNotRead):
        drill_restore(resources, folder, postgres_bin=programs)
    assert events_of(resources, event="drill.passed") == []


def test_a_custom_dump_that_is_cut_off_has_not_passed(resources, back_up, programs):
    folder = back_up("custom")
    whole = (folder / "caducee.dump").read_bytes()
    (folder / "caducee.dump").write_bytes(whole[: len(whole) // 2])
    with pytest.raises((DumpNotRead, InstallationMismatch)):
        drill_restore(resources, folder, postgres_bin=programs)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda base: shutil.rmtree(base / "pg_wal"), "cannot open"),
        (lambda base: (base / "global" / "pg_control").unlink(), "cannot open"),
        (lambda base: (base / "backup_label").unlink(), "no backup_label"),
        (lambda base: (base / "postmaster.pid").touch(), "belongs to a server"),
        (lambda base: (base / "standby.signal").touch(), "signal"),
        (lambda base: (base / "PG_VERSION").write_text("9\n"), "PostgreSQL 9"),
    ],
)
def test_a_folder_that_is_no_complete_base_backup_is_refused(resources, back_up, programs, spoil, reason):
    """Above all the folder of a server: the drill would start on it."""
    folder = back_up("base")
    spoil(folder / "base")
    with pytest.raises((DumpNotRead, NoPostgresProgram), match=reason):
        drill_restore(resources, folder, postgres_bin=programs)
    assert events_of(resources, event="drill.passed") == []


def test_a_base_backup_decides_nothing_about_the_host(resources, back_up, programs, place):
    """Its own settings could run commands, load libraries, or connect to the running server."""
    folder = back_up("base")
    ran = place / "ran"
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        with (folder / "base" / name).open("a") as file:
            file.write("shared_preload_libraries = 'no_such_library'\narchive_mode = on\nport = 1\n")
            file.write(f"archive_command = 'touch {ran}'\nrestore_command = 'touch {ran}'\n")
    assert drill_restore(resources, folder, postgres_bin=programs).passed
    assert not ran.exists()


def test_a_killed_drill_leaves_nothing_running_and_no_copy(resources, back_up, programs, place, database_url):
    """No copy is made at any time, and PostgreSQL ends with its input."""
    folder, scratch = back_up("base"), place / "tmp"
    scratch.mkdir()
    settings = resources.settings
    environment = os.environ | {
        "CADUCEE_DATA_DIR": str(settings.data_dir),
        "CADUCEE_DATABASE_URL": database_url,
        "CADUCEE_MIN_FREE_BYTES": "1",
        "TMPDIR": str(scratch),
    }
    command = [PROGRAM, "audit", "drill", "--restored", folder, "--postgres-bin", programs]
    drill = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up_at = clock.monotonic() + 60
    while not backends(folder) and drill.poll() is None and clock.monotonic() < give_up_at:
        clock.sleep(0.001)
    drill.send_signal(signal.SIGKILL)
    assert drill.wait() == -signal.SIGKILL, "it was not seen at work"
    while backends(folder) and clock.monotonic() < give_up_at:
        clock.sleep(0.01)
    assert backends(folder) == []
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in place.iterdir()) == ["restored", "tmp"]


def backends(folder):
    """Processes whose command line names the base backup."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--single" in words and os.fsencode(folder / "base") in words:
            found.append(process.name)
    return found
