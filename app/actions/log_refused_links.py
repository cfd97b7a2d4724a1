"""Log once a minute how many requests had no valid link; they are counted, never logged individually.

A flood of guesses must neither fill the log nor slow the service down.
"""

from __future__ import annotations

from app.domain.audit_events import Entry, Event
from app.runtime.resources import Resources


def log_refused_links(resources: Resources) -> int:
    """Log the count since the last call unless it is zero, and return it."""
    count = resources.refused_links.take()
    if count:
        with resources.database.writing() as transaction:
            transaction.log(Entry(event=Event.LINKS_REFUSED, at=resources.clock.now(), actor="recipient", count=count))
    return count
