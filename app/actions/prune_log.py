"""Remove the content, including the salt, of log entries older than the log's retention; their hashes stay.

An entry's age is read from its content, not from a column. The pruning boundary is logged first, in its own
transaction, because verification accepts missing content only below a boundary that the log itself records. The content
is then removed in batches, so that no deposit waits; after a crash, the next run removes the rest. Entries about the
log itself (a new origin, a restored database) keep their content.

Old checkpoints are thinned as well: a busy day has one per second, and a later one proves everything that an earlier
one does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.db import audit_pruning, checkpoint_rows, testimony_rows
from app.db.audit_pages import AuditPages
from app.db.checkpoint_rows import StoredCheckpoint
from app.domain.audit_events import Entry, Event
from app.runtime.resources import Resources

AT_ONCE = 2_000
CHECKPOINTS_KEPT = timedelta(days=1)
"""Of older checkpoints, only the last one of each hour is kept."""


def prune_log(resources: Resources, *, actor: str) -> int:
    """Prune entries older than CADUCEE_AUDIT_RETENTION. Return how many entries the boundary moved past."""
    now = resources.clock.now()
    _thin_checkpoints(resources, now - CHECKPOINTS_KEPT)
    moved, below = _move_boundary(resources, now - resources.settings.audit_retention, now=now, actor=actor)
    with resources.database.reading() as connection:
        start = audit_pruning.first_unpruned(connection, below)
    if start is None:
        return moved
    for first in range(start, below, AT_ONCE):
        with resources.database.writing() as transaction:
            audit_pruning.prune(transaction.connection, first, min(first + AT_ONCE, below))
    resources.database.forget_deleted()
    return moved


def _move_boundary(resources: Resources, cutoff: datetime, *, now: datetime, actor: str) -> tuple[int, int]:
    """Move the boundary to the first entry at or after `cutoff`, and log it, if that is beyond the previous boundary.
    Return by how many entries it moved, and where it is now.
    """
    with resources.database.reading() as connection:
        before = _boundary(connection)
        if audit_pruning.first_since(connection, cutoff, before) <= before:
            return 0, before
    with resources.database.writing() as transaction:
        connection = transaction.connection
        before = _boundary(connection)
        below = audit_pruning.first_since(connection, cutoff, before)
        if below <= before:  # another process moved it first
            return 0, before
        audit_pruning.add_boundary(connection, below)
        transaction.log(Entry(event=Event.LOG_PRUNED, at=now, actor=actor, count=below - before, below=below))
    return below - before, below


def _boundary(connection: Connection) -> int:
    """Return the last boundary that the log itself records; one that only the table contains prunes nothing."""
    last = testimony_rows.last_of(connection, Event.LOG_PRUNED)
    below = last.fields.get("below") if last is not None and last.sound else 0
    return min(below, audit_pruning.pruned_below(connection)) if isinstance(below, int) else 0


def _thin_checkpoints(resources: Resources, before: datetime) -> None:
    """Remove the checkpoints before a time, except the last one of each hour and origin."""
    with resources.database.reading() as connection:
        newest = checkpoint_rows.last(connection)
    doomed: list[int] = []
    earlier: StoredCheckpoint | None = None
    for checkpoint in AuditPages(resources.database).checkpoints(newest.size) if newest is not None else ():
        if earlier is not None and checkpoint.at < before and _hour_of(checkpoint) == _hour_of(earlier):
            doomed.append(earlier.size)
        earlier = checkpoint
    for first in range(0, len(doomed), AT_ONCE):
        with resources.database.writing() as transaction:
            checkpoint_rows.remove(transaction.connection, doomed[first : first + AT_ONCE])


def _hour_of(checkpoint: StoredCheckpoint) -> tuple[str, datetime]:
    """Return the checkpoint's origin and the hour of its signing."""
    return checkpoint.note.partition("\n")[0], checkpoint.at.replace(minute=0, second=0, microsecond=0)
