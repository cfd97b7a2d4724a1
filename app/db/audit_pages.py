"""The stored log as its verifier reads it: page by page, each in a short transaction of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from app.crypto.log_check import STRETCH_LEVEL, Row, StoredNodes
from app.db import audit_rows
from app.db.engine import Database

CHECKPOINTS = 1_000
"""How many are read at once."""


class _Seconds(dict[str, str]):
    """`"time":"2026-01-31T08:15:00.` by the digits of that second since 1970: entries come many to a second."""

    _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
    _MOST = 10_000

    def __missing__(self, digits: str) -> str:
        if len(self) >= self._MOST:
            self.clear()
        try:
            moment = self._EPOCH + timedelta(seconds=int(digits))
        except (ValueError, OverflowError):  # no time that this program ever writes
            return "\x00"
        text = self[digits] = f'"time":"{moment.isoformat()[:19]}.'
        return text


class AuditPages:
    """Entries and stored nodes of one database: a `LogSource`."""

    def __init__(self, database: Database) -> None:
        """Read nothing yet."""
        self._database = database
        self.seconds = _Seconds()

    @contextmanager
    def page(self, start: int, stop: int) -> Iterator[tuple[Iterable[Row], StoredNodes]]:
        """The entries from `start` up to `stop`, and the stored nodes that they complete, level by level up to that of
        a stretch; in a transaction that lasts as long as it takes to look at the entries.
        """
        with self._database.reading() as connection:
            nodes = {
                level: audit_rows.raw_nodes(connection, level, start >> level, stop >> level)
                for level in range(1, STRETCH_LEVEL + 1)
                if start >> level < stop >> level
            }
            with audit_rows.raw_page(connection, start, stop) as rows:
                yield rows, lambda level, first, last: nodes[level][first - (start >> level) : last - (start >> level)]

    def checkpoints(self, upto: int) -> Iterator[audit_rows.StoredCheckpoint]:
        """The checkpoints over `upto` entries at most, in order."""
        after = -1
        while True:
            with self._database.reading() as connection:
                page = audit_rows.checkpoint_page(connection, after, upto, CHECKPOINTS)
            yield from page
            if len(page) < CHECKPOINTS:
                return
            after = page[-1].size

    def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
        """The stored nodes of a level from one position up to another; fewer where some are missing."""
        with self._database.reading() as connection:
            return audit_rows.raw_nodes(connection, level, start, stop)
