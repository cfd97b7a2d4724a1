"""Lockdown: refuse every deposit, claim and fetch at once, in every process.

It needs the database and nothing else: no vault, no blobs, no clock that is trusted.
"""

from __future__ import annotations

from datetime import datetime

from app.db import service_rows
from app.db.engine import Database
from app.domain.audit_events import Entry, Event
from app.runtime.clock import Clock


def lock_down(database: Database, clock: Clock) -> datetime:
    """Begin the lockdown. Running streams are cut within a second. Returns since when it is on."""
    now = clock.now()
    with database.writing() as transaction:
        since = service_rows.get(transaction.connection).locked_down_at
        if since is not None:
            return since
        service_rows.set_lockdown(transaction.connection, now)
        transaction.log(Entry(event=Event.LOCKDOWN_BEGUN, at=now, actor="operator"))
    return now


def lockdown_since(database: Database) -> datetime | None:
    """Since when the lockdown is on; None when it is not."""
    with database.reading() as connection:
        return service_rows.get(connection).locked_down_at


def lift_lockdown(database: Database, clock: Clock) -> None:
    """End the lockdown."""
    now = clock.now()
    with database.writing() as transaction:
        if service_rows.get(transaction.connection).locked_down_at is None:
            return
        service_rows.set_lockdown(transaction.connection, None)
        transaction.log(Entry(event=Event.LOCKDOWN_LIFTED, at=now, actor="operator"))
