"""A database that is only looked at: read as it lies, refused for writing, found out when it changes meanwhile."""

import shutil

import pytest

from app.db import counter_rows
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable
from app.db.read_only import ReadOnlyDatabase


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    with database.writing() as transaction:
        counter_rows.add(transaction.connection, {"sweeps": 7})
    yield database
    database.close()


@pytest.fixture
def to_look(database, database_url, tmp_path):
    """A copy of the file with its write-ahead log; a server has no file to copy."""
    url = database_url
    if database.file:
        shutil.copytree(database.file.parent, tmp_path / "copy")
        url = f"sqlite:///{tmp_path / 'copy' / database.file.name}"
    looking = ReadOnlyDatabase(url)
    yield looking
    looking.close()


def test_what_was_committed_is_seen(to_look):
    for _ in range(2):
        with to_look.reading() as connection:
            assert counter_rows.every(connection) == {"sweeps": 7}
    to_look.require_unchanged()


def test_nothing_can_be_written(to_look):
    with pytest.raises(DatabaseUnavailable), to_look.writing() as transaction:
        counter_rows.add(transaction.connection, {"sweeps": 1})
    with pytest.raises(DatabaseUnavailable), to_look.reading() as connection:
        counter_rows.add(connection, {"sweeps": 1})


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_file_that_changes_meanwhile_is_no_proof(to_look):
    to_look.require_unchanged()
    with to_look.file.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DatabaseUnavailable, match="ask again"):
        to_look.require_unchanged()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_absent_file_is_not_made(database, tmp_path):
    with pytest.raises(DatabaseUnavailable, match="there is no database"):
        ReadOnlyDatabase(f"sqlite:///{tmp_path / 'nowhere' / 'caducee.sqlite'}")
    assert not (tmp_path / "nowhere").exists()
