"""The stored log as its verifier reads it: page by page, each in a short transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.crypto.log_check import STRETCH_LEVEL, Nodes, Row
from app.db import audit_rows
from app.db.engine import Database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_REMEMBERED = 10_000


class AuditPages:
    """Entries and stored nodes of one database: a `LogSource`."""

    def __init__(self, database: Database) -> None:
        """Read nothing yet."""
        self._database = database
        self._seconds: dict[str, str] = {}

    def page(self, start: int, stop: int) -> tuple[Sequence[Row], Nodes]:
        """The entries from `start` up to `stop`, and the stored nodes that the last of them completes, level by level
        up to that of a stretch.
        """
        with self._database.reading() as connection:
            rows = audit_rows.raw_page(connection, start, stop)
            nodes = {
                level: dict(audit_rows.raw_nodes(connection, level, start >> level, stop >> level))
                for level in range(1, STRETCH_LEVEL + 1)
                if start >> level < stop >> level
            }
        return rows, nodes

    def nodes(self, level: int, start: int, stop: int) -> list[bytes | None]:
        """The stored nodes of a level from one position up to another; None for one that is missing."""
        with self._database.reading() as connection:
            stored = dict(audit_rows.raw_nodes(connection, level, start, stop))
        return [stored.get(position) for position in range(start, stop)]

    def time_text(self, at: int) -> str:
        """`"time":"2026-01-31T08:15:00.000000Z"`, as content says it; the text up to the second is remembered."""
        digits = str(at)
        second = self._seconds.get(digits[:-6]) or self._second(digits[:-6])
        return f'{second}{digits[-6:]}Z"'

    def _second(self, digits: str) -> str:
        if len(self._seconds) >= _SECONDS_REMEMBERED:
            self._seconds.clear()
        try:
            moment = _EPOCH + timedelta(seconds=int(digits))
        except (ValueError, OverflowError):  # no time that this program ever writes
            return "\x00"
        text = self._seconds[digits] = moment.strftime('"time":"%Y-%m-%dT%H:%M:%S.')
        return text
