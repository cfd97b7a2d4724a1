"""Drain the service: accept no new transfer, while uploads to existing ones, claims, fetches and deletion go on.

It needs only the database. The reported state is read back in a separate transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.db import retention_figures, service_rows
from app.db.engine import Database
from app.db.errors import ChangeUndone
from app.domain.access_token import Caller, cause_of
from app.domain.audit_events import Entry, Event
from app.lifecycle import credentials
from app.runtime.clock import Clock

_UNDONE = "the database does not keep what was written: `caducee db check` names triggers that do not belong there"


def stop_intake(database: Database, clock: Clock, *, caller: Caller | None = None) -> Drain:
    """Accept no new transfer, in any process, for a caller or an operator (None). Return what was read back.
    Idempotent. Raises ChangeUndone, and what `credentials.require` raises.
    """
    now, by = clock.now(), cause_of(caller)
    entry = by.complete(Entry(event=Event.INTAKE_STOPPED, at=now, actor=by.actor))
    _set_unless_so(database, now, entry, caller)
    drain = _read_back(database)
    if drain.since is None:
        raise ChangeUndone(f"intake is still on: {_UNDONE}")
    return drain


def resume_intake(database: Database, clock: Clock, *, caller: Caller | None = None) -> Drain:
    """Accept new transfers again, for a caller or an operator (None). Return what was read back. Idempotent. Raises
    ChangeUndone, and what `credentials.require` raises.
    """
    by = cause_of(caller)
    entry = by.complete(Entry(event=Event.INTAKE_RESUMED, at=clock.now(), actor=by.actor))
    _set_unless_so(database, None, entry, caller)
    drain = _read_back(database)
    if drain.since is not None:
        raise ChangeUndone(f"intake is still off: {_UNDONE}")
    return drain


@dataclass(frozen=True, slots=True)
class Drain:
    """State of the intake: the time it was stopped (None: it is on), the number of transfers still held, and the time
    at which the last of them expires.
    """

    since: datetime | None
    held: int
    last_expires_at: datetime | None


def look_at_drain(database: Database) -> Drain:
    """Return how far the service is drained."""
    with database.reading() as connection:
        return _drain(connection)


def _read_back(database: Database) -> Drain:
    with database.reading_back() as connection:
        return _drain(connection)


def _drain(connection: Connection) -> Drain:
    return Drain(service_rows.intake_off_since(connection), *retention_figures.held(connection))


def _set_unless_so(database: Database, since: datetime | None, entry: Entry, caller: Caller | None) -> None:
    with database.writing() as transaction:
        credentials.require(transaction.connection, caller, entry.at)
        if (service_rows.intake_off_since(transaction.connection) is None) != (since is None):
            service_rows.set_intake_off(transaction.connection, since)
            transaction.log(entry)
