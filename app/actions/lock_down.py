"""Lockdown: refuse every deposit, claim and fetch at once, in every process; or destroy every key there is."""

from __future__ import annotations

from datetime import datetime

from app.db import service_rows
from app.domain.audit_events import Entry, Event
from app.resources import Resources


def lock_down(resources: Resources) -> datetime:
    """Begin the lockdown. Running streams are cut within a second. Answers since when it is on."""
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        since = service_rows.get(transaction.connection).locked_down_at
        if since is not None:
            return since
        service_rows.set_lockdown(transaction.connection, now)
        transaction.log(Entry(event=Event.LOCKDOWN_BEGUN, at=now, actor="operator"))
    return now


def lockdown_since(resources: Resources) -> datetime | None:
    """Since when the lockdown is on; None when it is not."""
    with resources.database.reading() as connection:
        return service_rows.get(connection).locked_down_at


def lift_lockdown(resources: Resources) -> None:
    """End the lockdown."""
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        if service_rows.get(transaction.connection).locked_down_at is None:
            return
        service_rows.set_lockdown(transaction.connection, None)
        transaction.log(Entry(event=Event.LOCKDOWN_LIFTED, at=now, actor="operator"))
