"""Lockdown: refuse every deposit, claim and fetch at once, in every process.

It needs only the database: no vault, no blobs, no trusted clock. It reads and writes one column. The reported state is
read back in a separate transaction. A log that accepts no entry does not prevent it.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from app.db import service_rows
from app.db.engine import Database
from app.db.errors import ChangeUndone
from app.domain.access_token import Caller, cause_of
from app.domain.audit_events import OPERATOR, Entry, Event, Reason
from app.domain.errors import NotAuthenticated, SessionEnded
from app.lifecycle import credentials
from app.runtime.clock import Clock

_UNDONE = "the database does not keep what was written: `caducee db check` names triggers that do not belong there"

log = structlog.get_logger()


def lock_down(
    database: Database, clock: Clock, reason: Reason | None = None, *, caller: Caller | None = None
) -> datetime:
    """Begin the lockdown, for a caller or an operator (None). Running streams are cut within a second. Return its start
    time. Raises ChangeUndone, and what `credentials.require` raises.
    """
    now, by = clock.now(), cause_of(caller, reason)
    _set(database, now, by.complete(Entry(event=Event.LOCKDOWN_BEGUN, at=now, actor=by.actor)), caller)
    since = _read_back(database)
    if since is None:
        raise ChangeUndone(f"not locked down: {_UNDONE}")
    return since


def lockdown_since(database: Database) -> datetime | None:
    """Return the start time of the lockdown, or None if there is none."""
    with database.reading() as connection:
        return service_rows.lockdown_since(connection)


def lift_lockdown(database: Database, clock: Clock, reason: Reason | None = None) -> None:
    """End the lockdown. Raises ChangeUndone."""
    _set(database, None, Entry(event=Event.LOCKDOWN_LIFTED, at=clock.now(), actor=OPERATOR, reason=reason), None)
    if _read_back(database) is not None:
        raise ChangeUndone(f"still locked down: {_UNDONE}")


def _read_back(database: Database) -> datetime | None:
    with database.reading_back() as connection:
        return service_rows.lockdown_since(connection)


def _set(database: Database, since: datetime | None, entry: Entry, caller: Caller | None) -> None:
    """Set and log the lockdown in one transaction; without the entry if the log accepts none."""
    try:
        _set_unless_so(database, since, entry, caller=caller)
    except (NotAuthenticated, SessionEnded):
        raise
    except Exception as error:  # noqa: BLE001 - must work whatever is wrong with the log
        _set_unless_so(database, since)
        log.error("lockdown_not_logged", error=type(error).__name__)


def _set_unless_so(database: Database, since: datetime | None, *entries: Entry, caller: Caller | None = None) -> None:
    with database.writing() as transaction:
        if since is not None:
            credentials.require(transaction.connection, caller, since)
        if (service_rows.lockdown_since(transaction.connection) is None) != (since is None):
            service_rows.set_lockdown(transaction.connection, since)
            transaction.log(*entries)
