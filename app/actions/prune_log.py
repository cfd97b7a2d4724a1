"""Let entries older than the log's retention lose their content and its salt; their hashes stay.

How old an entry is its content tells, and no column beside it. The boundary is logged first, in a transaction of its
own: verification accepts missing content only below one that the log itself tells of. The content goes after it, a
stretch at a time, so that no deposit waits; what a crash leaves over goes with the next run. Entries that explain the
log (a new origin, a restored database) keep theirs.

Checkpoints are thinned with it: a busy day has one for each second, and a later one proves all that an earlier one
does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.db import audit_rows, testimony_rows
from app.db.audit_pages import AuditPages
from app.db.audit_rows import StoredCheckpoint
from app.domain.audit_events import Entry, Event
from app.runtime.resources import Resources

AT_ONCE = 2_000
CHECKPOINTS_KEPT = timedelta(days=1)
"""Beyond this, the last checkpoint of each hour stays."""


def prune_log(resources: Resources, *, actor: str) -> int:
    """Prune what is older than CADUCEE_AUDIT_RETENTION. Answers how many entries the boundary moved past."""
    now = resources.clock.now()
    _thin_checkpoints(resources, now - CHECKPOINTS_KEPT)
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
        before = _boundary(connection)
        if audit_rows.first_since(connection, cutoff, before) <= before:
            return 0, before
    with resources.database.writing() as transaction:
        connection = transaction.connection
        before = _boundary(connection)
        below = audit_rows.first_since(connection, cutoff, before)
        if below <= before:  # another process was quicker
            return 0, before
        audit_rows.add_boundary(connection, below)
        transaction.log(Entry(event=Event.LOG_PRUNED, at=now, actor=actor, count=below - before, below=below))
    return below - before, below


def _boundary(connection: Connection) -> int:
    """Where the last pruning ended, as the log itself says: a boundary that only the table knows prunes nothing."""
    told = testimony_rows.last_of(connection, Event.LOG_PRUNED)
    below = told.fields.get("below") if told is not None and told.sound else 0
    return min(below, audit_rows.pruned_below(connection)) if isinstance(below, int) else 0


def _thin_checkpoints(resources: Resources, before: datetime) -> None:
    """Of checkpoints before a moment keep the last of each hour and origin."""
    with resources.database.reading() as connection:
        newest = audit_rows.last_checkpoint(connection)
    doomed: list[int] = []
    earlier: StoredCheckpoint | None = None
    for checkpoint in AuditPages(resources.database).checkpoints(newest.size) if newest is not None else ():
        if earlier is not None and checkpoint.at < before and _hour_of(checkpoint) == _hour_of(earlier):
            doomed.append(earlier.size)
        earlier = checkpoint
    for first in range(0, len(doomed), AT_ONCE):
        with resources.database.writing() as transaction:
            audit_rows.remove_checkpoints(transaction.connection, doomed[first : first + AT_ONCE])


def _hour_of(checkpoint: StoredCheckpoint) -> tuple[str, datetime]:
    """Its origin and its hour."""
    return checkpoint.note.partition("\n")[0], checkpoint.at.replace(minute=0, second=0, microsecond=0)
