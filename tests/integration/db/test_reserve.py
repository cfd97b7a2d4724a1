"""The reserve: made whole or not at all, given up before and after a write fails, and made again."""

from pathlib import Path

import pytest
from sqlalchemy import text

from app.db import reserve as module
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable
from app.db.read_only import ReadOnlyDatabase
from app.db.reserve import KEPT_BYTES, LOW_BYTES, RESERVE_BYTES, Reserve
from app.storage.backup_search import search_backup
from app.storage.local_disk import LocalDisk
from app.storage.vault_folder import VaultFolder


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'db' / 'caducee.sqlite'}")
    with database.writing() as transaction:
        transaction.connection.execute(text("CREATE TABLE things (content TEXT)"))
    yield database
    database.close()


@pytest.fixture
def file(database):
    database.reserve.make()
    return database.file.with_name("caducee.sqlite-reserve")


@pytest.fixture
def free(monkeypatch):
    """Sets how much the volume has left."""

    def set_free(size: int) -> None:
        monkeypatch.setattr(Reserve, "free_bytes", lambda _self: size)

    return set_free


def write(database) -> None:
    with database.writing() as transaction:
        transaction.connection.execute(text("INSERT INTO things VALUES ('one')"))


def test_it_holds_its_space_privately(database, file):
    assert file.stat().st_size == RESERVE_BYTES
    assert file.stat().st_blocks * 512 >= RESERVE_BYTES, "no hole"
    assert file.stat().st_mode & 0o777 == 0o600
    assert database.reserve.in_place()


def test_a_backup_that_contains_it_passes_the_drill(file):
    """It is text, so nothing can hide in it."""
    stores = LocalDisk(file.parent / "blobs", min_free_bytes=0), VaultFolder(file.parent / "vault")
    assert list(search_backup(file.parent, *stores)) == []


def test_a_write_on_a_nearly_full_volume_gives_it_up_first(database, file, free):
    free(LOW_BYTES)
    write(database)
    assert file.exists()
    free(LOW_BYTES - 1)
    write(database)
    assert not file.exists()


def test_a_write_that_fails_for_want_of_space_gives_it_up(database, file):
    """Whatever the volume says is free: a quota, or a large transaction."""
    large = text("INSERT INTO things VALUES (hex(zeroblob(100000)))")
    with database.writing() as transaction:
        transaction.connection.execute(text("PRAGMA max_page_count=2"))
    with pytest.raises(DatabaseUnavailable, match="full"), database.writing() as transaction:
        transaction.connection.execute(large)
    assert not file.exists()


def test_another_failure_does_not(database, file):
    with pytest.raises(DatabaseUnavailable), database.writing() as transaction:
        transaction.connection.execute(text("INSERT INTO nothing VALUES (1)"))
    assert file.exists()


def test_intake_leaves_its_space_alone_whether_it_is_held_or_free(database, file, free):
    reserve = database.reserve
    for size, room in ((KEPT_BYTES, True), (KEPT_BYTES - 1, False)):
        free(size)
        assert reserve.has_room() is room
    file.unlink()
    for size, room in ((RESERVE_BYTES + KEPT_BYTES, True), (RESERVE_BYTES + KEPT_BYTES - 1, False)):
        free(size)
        assert (reserve.has_room(), reserve.make()) == (room, room)
        file.unlink(missing_ok=True)


@pytest.mark.parametrize("left", [b"", b"cut short"])
def test_one_that_a_crash_cut_short_is_not_taken_for_it(database, file, left):
    file.write_bytes(left)
    assert not database.reserve.in_place()
    assert database.reserve.make()
    assert file.stat().st_size == RESERVE_BYTES


def test_one_that_cannot_be_made_leaves_nothing(database, file, monkeypatch):
    file.unlink()

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", fail)
    assert not database.reserve.make()
    assert not file.exists()


def test_a_planted_link_is_replaced_and_not_followed(database, file, tmp_path):
    file.unlink()
    (tmp_path / "elsewhere").write_bytes(b"content")
    file.symlink_to(tmp_path / "elsewhere")
    assert database.reserve.make()
    assert (tmp_path / "elsewhere").read_bytes() == b"content"
    assert not file.is_symlink()


def test_a_command_that_only_reads_does_not_give_it_up(database, file, free):
    """`audit retention`, run by anybody, on a copy."""
    free(0)
    reader = ReadOnlyDatabase(f"sqlite:///{database.file}")
    with reader.reading() as connection:
        connection.execute(text("SELECT 1"))
    reader.close()
    assert file.exists()


def test_a_database_without_a_file_needs_none():
    reserve = Reserve(None)
    reserve.give_up_if_low()
    assert reserve.in_place()
    assert reserve.has_room()
    assert reserve.make()
