"""Revoke an access token: the very next request with it is refused, in every process."""

from __future__ import annotations

from app.db import access_token_rows
from app.domain.audit_events import Entry, Event
from app.resources import Resources


def revoke_access_token(resources: Resources, token_id: str) -> bool:
    """Revoke the token of this id. False when there is none, or it was revoked before."""
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        revoked = access_token_rows.revoke(transaction.connection, token_id, now)
        if revoked:
            transaction.log(Entry(event=Event.TOKEN_REVOKED, at=now, actor="operator", token=token_id))
    return revoked
