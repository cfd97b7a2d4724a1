"""End sessions whose time is over or whose token is valid no more, and forget those that ended long ago.

Requests refuse such sessions by themselves. This removes the digests of their cookies and says in the log when a
session ended.
"""

from __future__ import annotations

from app.db import session_rows
from app.domain.audit_events import Cause
from app.domain.session import SessionEnding, ending_due
from app.lifecycle import session_ends
from app.runtime.resources import Resources

AT_ONCE = 500
SYSTEM = Cause("system")


def end_due_sessions(resources: Resources) -> int:
    """End and log them in batches. Return how many were ended."""
    now, ended = resources.clock.now(), 0
    while True:
        with resources.database.writing() as transaction:
            due = session_rows.due(transaction.connection, now, AT_ONCE)
            for row in due:
                by_time = ending_due(used_at=row.used_at, expires_at=row.expires_at, now=now)
                session_ends.end(transaction, row, by_time or SessionEnding.TOKEN_ENDED, now, SYSTEM)
            if len(due) < AT_ONCE:
                session_rows.forget(transaction.connection, now, resources.settings.audit_retention)
        ended += len(due)
        if len(due) < AT_ONCE:
            return ended
