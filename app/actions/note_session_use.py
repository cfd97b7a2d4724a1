"""Note that a session is in use: at most one write per session and minute, and none in a request."""

from __future__ import annotations

import structlog

from app.db import session_rows
from app.db.errors import DatabaseUnavailable
from app.domain.access_token import Caller
from app.domain.session import use_is_due
from app.runtime.resources import Resources

log = structlog.get_logger()


def note_session_use(resources: Resources, caller: Caller) -> None:
    """Have a thread note the use, unless one within the last minute is noted. No request waits for it or fails with
    it.
    """
    session = caller.session
    if session is None or not use_is_due(session.used_at, resources.clock.now()):
        return
    if session.id in resources.sessions_noting:  # a thread is under way
        return
    resources.sessions_noting.add(session.id)
    resources.threads.submit(_note, resources, session.id)


def _note(resources: Resources, session_id: str) -> None:
    try:
        with resources.database.writing() as transaction:
            session_rows.note_use(transaction.connection, session_id, resources.clock.now())
    except DatabaseUnavailable as error:  # tried again by the next request
        log.warning("session_use_not_noted", error=type(error).__name__)
    finally:
        resources.sessions_noting.discard(session_id)
