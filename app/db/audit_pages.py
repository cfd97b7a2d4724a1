"""The verifier's access to the stored log: page by page, each in its own short transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from app.crypto.log_check import STRETCH_LEVEL, Row, StoredNodes
from app.db import audit_rows, audit_tree, checkpoint_rows
from app.db.engine import Database

CHECKPOINTS = 1_000
"""Checkpoints per page."""


class _Seconds(dict[str, str]):
    """A cache of `"time":"2026-01-31T08:15:00.` by the digits of its Unix second: many entries share a second."""

    _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
    _MOST = 10_000

    def __missing__(self, digits: str) -> str:
        if len(self) >= self._MOST:
            self.clear()
        try:
            moment = self._EPOCH + timedelta(seconds=int(digits))
        except (ValueError, OverflowError):  # not a time that this program writes
            return "\x00"
        text = self[digits] = f'"time":"{moment.isoformat()[:19]}.'
        return text


class AuditPages:
    """Entries and stored nodes of one database: a `LogSource`."""

    def __init__(self, database: Database) -> None:
        """Store the database; nothing is read."""
        self._database = database
        self.seconds = _Seconds()

    @contextmanager
    def page(self, start: int, stop: int) -> Iterator[tuple[Iterable[Row], StoredNodes]]:
        """Yield the entries from `start` up to `stop`, and the stored nodes that they complete, up to STRETCH_LEVEL.
        The transaction is open inside the `with` block.
        """
        with self._database.reading() as connection:
            nodes = {
                level: audit_tree.raw_nodes(connection, level, start >> level, stop >> level)
                for level in range(1, STRETCH_LEVEL + 1)
                if start >> level < stop >> level
            }
            with audit_rows.raw_page(connection, start, stop) as rows:
                yield rows, lambda level, first, last: nodes[level][first - (start >> level) : last - (start >> level)]

    def checkpoints(self, upto: int) -> Iterator[checkpoint_rows.StoredCheckpoint]:
        """Yield the checkpoints over at most `upto` entries, in order."""
        after = -1
        while True:
            with self._database.reading() as connection:
                page = checkpoint_rows.page(connection, after, upto, CHECKPOINTS)
            yield from page
            if len(page) < CHECKPOINTS:
                return
            after = page[-1].size

    def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Return the stored nodes of a level, from position `start` up to `stop`; missing nodes are left out."""
        with self._database.reading() as connection:
            return audit_tree.raw_nodes(connection, level, start, stop)
