"""Log entries to fill a log with, for measurements here and for the tests of the log at size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.crypto.token import new_id
from app.domain.audit_events import Entry, Event

START = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(milliseconds=37)


def downloads(first: int, count: int) -> list[Entry]:
    """Return entries number `first` and following: downloads, the longest entries that are common."""
    transfer, share, claim = new_id(), new_id(), new_id()
    return [
        Entry(
            event=Event.FILE_FETCHED,
            at=START + INTERVAL * number,
            actor="recipient",
            transfer=transfer,
            share=share,
            claim=claim,
            file=0,
            size=123_456,
            address="192.0.2.17",
            outcome="sent",
        )
        for number in range(first, first + count)
    ]
