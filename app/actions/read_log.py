"""Read the log's entries, newest last, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator

from app.db import audit_rows
from app.db.audit_rows import StoredEntry
from app.resources import Resources

PAGE = 1_000


def read_log(resources: Resources, *, last: int | None = None) -> Iterator[StoredEntry]:
    """The log's entries in order; with `last`, only so many at its end. Pages are read in short transactions."""
    with resources.database.reading() as connection:
        size = audit_rows.size(connection)
    start = max(0, size - last) if last is not None else 0
    while start < size:
        with resources.database.reading() as connection:
            page = audit_rows.page(connection, start, min(PAGE, size - start))
        if not page:
            return
        yield from page
        start = page[-1].sequence + 1
