"""`caducee audit retention` as a cron job of somebody who may only read: it changes nothing, whatever it is asked of.

These tests may run as root, whom no mode of a folder keeps from writing: so every name, time and byte is compared.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.people import send
from tests.acceptance.service import Installation, Ran, until

OVERDUE = "UPDATE transfers SET expires_at = 1000000, due_at = 4102444800000000"


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file and folder: mode, time of its last change, content."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A service that held something and was killed: what it wrote last is in the write-ahead log alone."""
    installation = Installation(tmp_path_factory.mktemp("killed"))
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        send(http, b"held")
        server.process.send_signal(signal.SIGKILL)
        server.kill()
    assert installation.database.with_name("caducee.sqlite-wal").stat().st_size > 0
    return installation


@pytest.fixture
def copy(killed: Installation, tmp_path: Path) -> Path:
    """A copy of its data folder, in which nobody may write."""
    folder = tmp_path / "copy"
    shutil.copytree(killed.data, folder)
    return folder


@pytest.fixture
def retention(killed: Installation, copy: Path) -> Callable[..., Ran]:
    """The command, asked of the copy: it must end with this code, and leave everything as it was."""

    def ask(code: int, *options: str, deadman: str = "1h") -> Ran:
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = everything(copy)
        ran = killed.run("audit", "retention", *options, code=code, DATA_DIR=str(copy), DEADMAN=deadman)
        assert everything(copy) == before
        return ran

    return ask


def alter(copy: Path, statement: str) -> None:
    """Change the copied database, and leave the change in its write-ahead log."""
    program = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); os._exit(0)"
    )
    subprocess.run(["python3", "-c", program, copy / "db" / "caducee.sqlite", statement], check=True)


def test_clean_is_0_and_what_only_the_log_knows_is_seen(retention: Callable[..., Ran]) -> None:
    """The transfer was never written to the file itself."""
    report = retention(0, "--json").json
    assert report["transfers"] == {"live": 1}
    assert report["orphans"] == 0


@pytest.mark.parametrize("missing", ["-shm", "-wal and -shm"])
def test_it_needs_none_of_the_files_beside_the_database(
    copy: Path, retention: Callable[..., Ran], missing: str
) -> None:
    """A backup holds none; SQLite must not make them."""
    if "-wal" in missing:
        with closing(sqlite3.connect(copy / "db" / "caducee.sqlite")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in missing.split(" and "):
        (copy / "db" / f"caducee.sqlite{name}").unlink(missing_ok=True)
    assert retention(0, "--json").json["transfers"] == {"live": 1}


def test_something_overdue_is_1(copy: Path, retention: Callable[..., Ran]) -> None:
    """As the copy says."""
    alter(copy, OVERDUE)
    assert retention(1, "--json").json["overdue"] == 1


def test_an_orphan_is_1(copy: Path, retention: Callable[..., Ran]) -> None:
    """A key whose transfer nobody knows."""
    hour = next(path for path in (copy / "vault").iterdir() if path.is_dir())
    entry = next(path for path in hour.iterdir() if path.name.count(".") == 1 and path.name != "hour.key")
    shutil.copy(entry, hour / f"{entry.name.partition('.')[0]}.{'A' * 22}")
    assert retention(1, "--json").json["orphans"] == 1


def test_no_sweep_for_too_long_is_2(copy: Path, retention: Callable[..., Ran]) -> None:
    """The service was down when it was copied, or the copy is old."""
    alter(copy, "UPDATE service_state SET last_sweep_at = last_sweep_at - 7200000000")
    assert "none succeeded within 1h" in retention(2).out


@pytest.mark.parametrize("store", ["vault", "blobs"])
def test_a_copy_without_a_store_proves_nothing(copy: Path, retention: Callable[..., Ran], store: str) -> None:
    """2, and the folder is not made."""
    shutil.rmtree(copy / store)
    assert "CANNOT PROVE" in retention(2).out


def test_without_a_database_there_is_nothing_to_prove(killed: Installation, tmp_path: Path) -> None:
    """No fresh installation comes to be by asking."""
    ran = killed.run("audit", "retention", code=2, DATA_DIR=str(tmp_path / "nowhere"))
    assert "there is no database" in ran.err
    assert not (tmp_path / "nowhere").exists()


def test_the_page_is_written_where_it_was_asked_for(retention: Callable[..., Ran], tmp_path: Path) -> None:
    """And nowhere else."""
    retention(0, "--html", str(tmp_path / "page.html"))
    assert "</html>" in (tmp_path / "page.html").read_text("utf-8")


def test_beside_a_service_that_runs_it_sees_what_is_now(tmp_path: Path) -> None:
    """No lock is missed: what was committed a moment ago is there."""
    installation = Installation(tmp_path)
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        for count in (1, 2):
            send(http, b"held")
            seen = installation.run("audit", "retention", "--json").json
            assert seen["transfers"] == {"live": count}
        until(lambda: installation.run("audit", "retention", code=None).code == 0, what="a clean report")
