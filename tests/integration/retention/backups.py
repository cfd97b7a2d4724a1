"""Backups of the database as an operator takes and restores them, with SQLite's own backup interface."""

import sqlite3
from contextlib import closing
from pathlib import Path

from app.runtime.resources import Resources


def back_up(resources: Resources, to: Path) -> Path:
    """Copy the database; the vault is in no backup."""
    assert resources.database.forget_deleted()
    to.parent.mkdir(parents=True, exist_ok=True)
    _copy(_file_of(resources), to)
    return to


def restore(resources: Resources, backup: Path) -> None:
    """Put the backup in the place of the database, under whatever runs on it."""
    _copy(backup, _file_of(resources))


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target, timeout=10)) as writer:
        reader.backup(writer)


def _file_of(resources: Resources) -> Path:
    assert resources.database.file is not None
    return resources.database.file
