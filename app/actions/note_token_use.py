"""Note the hour in which an access token was last used: at most one write per token and hour, and none in a request."""

from __future__ import annotations

import structlog

from app.db import access_token_rows
from app.db.errors import DatabaseUnavailable
from app.domain.access_token import Caller, hour_of
from app.runtime.resources import Resources

log = structlog.get_logger()


def note_token_use(resources: Resources, caller: Caller) -> None:
    """Have a thread note the use, unless this hour is noted already. No request waits for it or fails with it."""
    hour = hour_of(resources.clock.now())
    if caller.token_id is None:
        return
    if caller.last_used_at is not None and caller.last_used_at >= hour:
        return
    if resources.token_hours.get(caller.token_id) == hour:  # the thread is under way, or failed
        return
    resources.token_hours[caller.token_id] = hour
    resources.threads.submit(_note, resources, caller.token_id)


def _note(resources: Resources, token_id: str) -> None:
    try:
        with resources.database.writing() as transaction:
            access_token_rows.note_use(transaction.connection, token_id, hour_of(resources.clock.now()))
    except DatabaseUnavailable as error:  # tried again in the next hour
        log.warning("token_use_not_noted", error=type(error).__name__)
