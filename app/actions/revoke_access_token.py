"""Revoke an access token: the very next request with it is refused, in every process. Needs the database alone."""

from __future__ import annotations

from app.db import access_token_rows
from app.db.engine import Database
from app.db.errors import ChangeUndone
from app.domain.audit_events import Entry, Event
from app.runtime.clock import Clock


def revoke_access_token(database: Database, clock: Clock, token_id: str) -> bool:
    """Revoke the token of this id. False when there is none, or it was revoked before. Raises ChangeUndone unless it is
    revoked when it is read back.
    """
    now = clock.now()
    with database.writing() as transaction:
        revoked = access_token_rows.revoke(transaction.connection, token_id, now)
        if revoked:
            transaction.log(Entry(event=Event.TOKEN_REVOKED, at=now, actor="operator", token=token_id))
    if revoked:
        with database.reading() as connection:
            if not access_token_rows.is_revoked(connection, token_id):
                raise ChangeUndone("not revoked: the database does not keep what was written (`caducee db check`)")
    return revoked
