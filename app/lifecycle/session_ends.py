"""The end of sessions: the row and the log entry, in one transaction."""

from __future__ import annotations

from datetime import datetime

from app.db import session_rows
from app.db.engine import Transaction
from app.db.session_rows import SessionRow
from app.domain.audit_events import Cause, Entry, Event
from app.domain.session import SessionEnding


def end(transaction: Transaction, row: SessionRow, ending: SessionEnding, now: datetime, by: Cause) -> bool:
    """End a session. `by`: who ends it. Return False if it has ended already, which is not logged again."""
    if not session_rows.end(transaction.connection, row.id, ending, now):
        return False
    transaction.log(
        Entry(
            event=Event.SESSION_ENDED,
            at=now,
            actor=by.actor,
            session=row.id,
            token=row.token_id,
            outcome=ending.value,
            address=by.address,
            reason=by.reason,
        )
    )
    return True
