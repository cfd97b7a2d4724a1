"""Let entries older than the log's retention lose their content and its salt; their hashes stay.

The boundary is logged first, in a transaction of its own: verification accepts missing content only below one that the
log itself tells of. The content goes after it, a stretch at a time, so that no deposit waits; what a crash leaves over
goes with the next run. Entries that explain the log (a new origin, a restored database) keep theirs.
"""

from __future__ import annotations

from datetime import datetime

from app.db import audit_rows
from app.domain.audit_events import Entry, Event
from app.resources import Resources

AT_ONCE = 2_000


def prune_log(resources: Resources, *, actor: str) -> int:
    """Prune what is older than CADUCEE_AUDIT_RETENTION. Answers how many entries the boundary moved past."""
    now = resources.clock.now()
    moved, below = _move_boundary(resources, now - resources.settings.audit_retention, now=now, actor=actor)
    with resources.database.reading() as connection:
        start = audit_rows.first_unpruned(connection, below)
    if start is None:
        return moved
    for first in range(start, below, AT_ONCE):
        with resources.database.writing() as transaction:
            audit_rows.prune(transaction.connection, first, min(first + AT_ONCE, below))
    resources.database.forget_deleted()
    return moved


def _move_boundary(resources: Resources, cutoff: datetime, *, now: datetime, actor: str) -> tuple[int, int]:
    """Log a boundary at the first entry from `cutoff` on, if that is further than the last one; answers how far it
    moved and where it is.
    """
    with resources.database.reading() as connection:
        if audit_rows.first_since(connection, cutoff) <= audit_rows.pruned_below(connection):
            return 0, audit_rows.pruned_below(connection)
    with resources.database.writing() as transaction:
        connection = transaction.connection
        before, below = audit_rows.pruned_below(connection), audit_rows.first_since(connection, cutoff)
        if below <= before:  # another process was quicker
            return 0, before
        audit_rows.add_boundary(connection, below)
        transaction.log(Entry(event=Event.LOG_PRUNED, at=now, actor=actor, count=below - before, below=below))
    return below - before, below
