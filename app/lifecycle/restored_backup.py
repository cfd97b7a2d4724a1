"""The database in a restored backup: a SQLite file, a dump of PostgreSQL (custom format or SQL) or a base backup."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.db import restored_rows
from app.db.postgres_copy import rows_of_dump
from app.db.restored_rows import COLUMNS, RestoredRows
from app.runtime.postgres_programs import copies_of_base_backup, dump_as_text

_CUSTOM_DUMP = b"PGDMP"
_SQL_DUMP = re.compile(rb"\s*--\s*\n-- PostgreSQL database(?: cluster)? dump")
_HEAD_BYTES = 200

_RELATION = r"(?:\d+(?:_(?:fsm|vm|init))?(?:\.\d+)?|PG_VERSION|pg_filenode\.map|pg_internal\.init)"
_SEGMENT = r"[0-9A-F]{4,16}"
_LAID_OUT = re.compile(
    rf"base/\d+/{_RELATION}|global/(?:{_RELATION}|pg_control)"
    r"|pg_wal/(?:[0-9A-F]{24}(?:\.partial)?|[0-9A-F]{8}\.history|[0-9A-F]{24}\.[0-9A-F]{8}\.backup)"
    r"|pg_wal/archive_status/[0-9A-F.a-z]+\.(?:done|ready)|pg_wal/summaries/[0-9A-F]+\.summary"
    rf"|pg_(?:xact|subtrans|commit_ts|serial|notify|multixact/offsets|multixact/members|twophase)/{_SEGMENT}"
    r"|pg_stat/\w+\.stat|pg_logical/replorigin_checkpoint|pg_replslot/\w+/state",
    re.ASCII,
)
"""The binary files of a base backup, relative to its folder (PostgreSQL's documentation, 66.1)."""


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """A database of a backup: its place, and how to read it. A base backup may hold those of several installations."""

    place: Path
    rows: Callable[[], list[RestoredRows]]

    def accounts_for(self, path: Path) -> bool:
        """Return whether a file is of this database, and so holds no other files."""
        if path == self.place:
            return True
        return self.place in path.parents and _LAID_OUT.fullmatch(str(path.relative_to(self.place))) is not None


def databases_in(restored: Path, postgres_bin: Path | None) -> Iterator[RestoredDatabase]:
    """Yield every database below a folder. Unreadable files and folders are not followed: the search for a vault
    reports them.
    """
    for folder, folders, names in os.walk(restored):
        here = Path(folder)
        if "PG_VERSION" in names and (here / "global").is_dir():
            folders.clear()
            yield RestoredDatabase(here, lambda at=here: _base_backup(at, postgres_bin))  # type: ignore[misc]
            continue
        for path in (here / name for name in sorted(names)):
            read = _reader_of(path, postgres_bin)
            if read is not None:
                yield RestoredDatabase(path, read)


def _reader_of(path: Path, postgres_bin: Path | None) -> Callable[[], list[RestoredRows]] | None:
    if path.suffix == ".sqlite":
        return lambda: [restored_rows.of_sqlite(path)]
    try:
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    if head.startswith(_CUSTOM_DUMP):
        return lambda: [restored_rows.of_postgres(rows_of_dump(dump_as_text(path, postgres_bin), COLUMNS))]
    return (lambda: [_sql_dump(path)]) if _SQL_DUMP.match(head) else None


def _sql_dump(path: Path) -> RestoredRows:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        return restored_rows.of_postgres(rows_of_dump(lines, COLUMNS))


def _base_backup(folder: Path, postgres_bin: Path | None) -> list[RestoredRows]:
    return [restored_rows.of_postgres(rows) for rows in copies_of_base_backup(folder, COLUMNS, postgres_bin)]
