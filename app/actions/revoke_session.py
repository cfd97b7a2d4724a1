"""Revoke a session. Every process refuses the next request that uses it. Needs only the database."""

from __future__ import annotations

from app.db import session_rows
from app.db.engine import Database
from app.db.errors import ChangeUndone
from app.domain.access_token import Caller, cause_of
from app.domain.audit_events import Reason
from app.domain.session import SessionEnding
from app.lifecycle import credentials, session_ends
from app.runtime.clock import Clock


def revoke_session(
    database: Database, clock: Clock, session_id: str, *, reason: Reason | None = None, caller: Caller | None = None
) -> bool:
    """Revoke the session with this id, for a caller or an operator (None). Return False if there is none or it has
    ended. The change is read back in a separate transaction: raises ChangeUndone if the session still runs; what
    `credentials.require` raises.
    """
    now = clock.now()
    with database.writing() as transaction:
        credentials.require(transaction.connection, caller, now)
        row = session_rows.find(transaction.connection, session_id)
        by = cause_of(caller, reason)
        revoked = row is not None and session_ends.end(transaction, row, SessionEnding.REVOKED, now, by)
    if revoked:
        with database.reading_back() as connection:
            left = session_rows.find(connection, session_id)
        if left is not None and left.ended_at is None:
            raise ChangeUndone("not revoked: the database does not keep what was written (`caducee db check`)")
    return revoked
