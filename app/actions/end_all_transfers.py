"""End every transfer after all keys in the vault were destroyed, so that the sweeper deletes their bytes."""

from __future__ import annotations

from app.db import transfer_rows
from app.db.engine import Database
from app.domain.audit_events import OPERATOR, Cause, Entry, Event, Reason
from app.domain.transfer import Ending
from app.lifecycle import endings
from app.runtime.clock import Clock

PAGE = 500


def end_all_transfers(database: Database, clock: Clock, *, destroyed: int, reason: Reason | None = None) -> int:
    """Log the number of keys `destroyed`, and end every transfer. Return how many transfers ended.

    Raises DatabaseUnavailable. The caller has checked that the database and the vault belong together.
    """
    log_destroyed_keys(database, clock, destroyed=destroyed, reason=reason)
    ended = 0
    while page := _end_some(database, clock, Cause(OPERATOR, reason=reason)):
        ended += page
    return ended


def log_destroyed_keys(database: Database, clock: Clock, *, destroyed: int, reason: Reason | None = None) -> None:
    """Log the number of keys `destroyed`. Raises DatabaseUnavailable."""
    with database.writing() as transaction:
        entry = Entry(event=Event.ALL_KEYS_DESTROYED, at=clock.now(), actor=OPERATOR, count=destroyed, reason=reason)
        transaction.log(entry)


def _end_some(database: Database, clock: Clock, cause: Cause) -> int:
    """End one page of open transfers, including expired ones that no sweep has ended."""
    now = clock.now()
    with database.writing(cause) as transaction:
        rows = transfer_rows.any_open(transaction.connection, PAGE)
        endings.deny_transfers(transaction, rows, Ending.DELETED, now=now, actor=cause.actor)
    return len(rows)
