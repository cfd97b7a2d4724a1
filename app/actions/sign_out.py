"""Sign out: end the session of this browser."""

from __future__ import annotations

from app.db import session_rows
from app.domain.access_token import Caller
from app.domain.session import SessionEnding
from app.lifecycle import session_ends
from app.runtime.resources import Resources


def sign_out(resources: Resources, caller: Caller) -> None:
    """End the caller's session. Idempotent. A caller with a token has none, and nothing happens."""
    if caller.session is None:
        return
    with resources.database.writing() as transaction:
        row = session_rows.find(transaction.connection, caller.session.id)
        if row is not None:
            now = resources.clock.now()
            session_ends.end(transaction, row, SessionEnding.SIGNED_OUT, now, caller.cause())
