"""Log once a minute how many requests had a wrong, revoked or expired access token, and the networks they came from."""

from __future__ import annotations

from app.domain.audit_events import Entry, Event
from app.runtime.resources import Resources


def log_refused_tokens(resources: Resources) -> int:
    """Log the count since the last call unless it is zero, and return it."""
    refused = resources.refused_tokens.take()
    if refused.count:
        entry = Entry(
            event=Event.TOKENS_REFUSED,
            at=resources.clock.now(),
            actor="system",
            count=refused.count,
            addresses=refused.addresses,
        )
        with resources.database.writing() as transaction:
            transaction.log(entry)
    return refused.count
