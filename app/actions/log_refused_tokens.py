"""Log once a minute how many requests had a wrong, revoked or expired access token, how many sign-ins at the provider
were refused, and the networks they came from.
"""

from __future__ import annotations

from app.domain.audit_events import Entry, Event
from app.runtime.resources import Resources


def log_refused_tokens(resources: Resources) -> int:
    """Log the count since the last call unless it is zero, and return it."""
    tokens, sign_ins = resources.refused_tokens.take(), resources.refused_sign_ins.take()
    now = resources.clock.now()
    entries = [
        Entry(event=event, at=now, actor="system", count=refused.count, addresses=refused.addresses)
        for event, refused in ((Event.TOKENS_REFUSED, tokens), (Event.SESSION_REFUSED, sign_ins))
        if refused.count
    ]
    if entries:
        with resources.database.writing() as transaction:
            transaction.log(*entries)
    return tokens.count + sign_ins.count
