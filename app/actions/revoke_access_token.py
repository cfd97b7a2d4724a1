"""Revoke an access token. Every process refuses the next request that uses it. Needs only the database."""

from __future__ import annotations

from app.db import access_token_rows
from app.db.engine import Database
from app.db.errors import ChangeUndone
from app.domain.access_token import Caller, cause_of
from app.domain.audit_events import Entry, Event, Reason
from app.lifecycle import credentials
from app.runtime.clock import Clock


def revoke_access_token(
    database: Database, clock: Clock, token_id: str, *, reason: Reason | None = None, caller: Caller | None = None
) -> bool:
    """Revoke the token with this id, for a caller or an operator (None). Return False if there is none or it is already
    revoked. The change is read back in a separate transaction: raises ChangeUndone if the token is still valid; what
    `credentials.require` raises.
    """
    now, by = clock.now(), cause_of(caller, reason)
    with database.writing(by) as transaction:
        credentials.require(transaction.connection, caller, now)
        revoked = access_token_rows.revoke(transaction.connection, token_id, now)
        if revoked:
            transaction.log(Entry(event=Event.TOKEN_REVOKED, at=now, actor=by.actor, token=token_id))
    if revoked:
        with database.reading_back() as connection:
            if not access_token_rows.is_revoked(connection, token_id):
                raise ChangeUndone("not revoked: the database does not keep what was written (`caducee db check`)")
    return revoked
