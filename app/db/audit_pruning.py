"""Pruning of the audit log: old entries lose their content, below a boundary that an entry records.

The database itself refuses to remove content that no boundary covers.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from app.db import audit_size
from app.db.audit_rows import ENTRY, StoredEntry
from app.db.tables import audit_boundaries, audit_entries
from app.domain.audit_events import EXPLAINING

_NEIGHBOURS = 1_000
"""How many altered entries in a row are skipped in search of a sound one."""

_PRUNED = audit_entries.c.sequence < bindparam("stop")
_HELD = audit_entries.c.content.is_not(None)
_NOT_EXPLAINING = and_(*(audit_entries.c.content.not_like(f'%"event":"{event.value}"%') for event in EXPLAINING))


def pruned_below(connection: Connection) -> int:
    """Return the boundary: entries with a lower sequence number have lost their content, or are about to."""
    return connection.execute(select(func.max(audit_boundaries.c.below))).scalar() or 0


def add_boundary(connection: Connection, below: int) -> None:
    """Permit the pruning of entries below this, in the transaction of the entry that records it."""
    connection.execute(insert(audit_boundaries).values(below=below))


def first_unpruned(connection: Connection, below: int) -> int | None:
    """Return the first entry below this that still has content to prune."""
    query = select(audit_entries.c.sequence).where(_PRUNED, _HELD, _NOT_EXPLAINING).order_by(audit_entries.c.sequence)
    return connection.execute(query.limit(1), {"stop": below}).scalar()


def prune(connection: Connection, start: int, stop: int) -> None:
    """Remove the content of entries from `start` up to `stop`, except of those that explain the log itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.caducee_prune_audit(start, stop)))
        return
    wanted = update(audit_entries).where(
        audit_entries.c.sequence >= bindparam("start"), _PRUNED, _HELD, _NOT_EXPLAINING
    )
    connection.execute(wanted.values(content=None), {"start": start, "stop": stop})


def first_since(connection: Connection, moment: datetime, start: int = 0) -> int:
    """Return the sequence number of the first entry, from `start` on, logged at or after `moment`; without one, the
    log's size. A bisection of a dozen or two reads. Entries are in commit order, so their times may be out of order by
    the length of a transaction.

    It reads the times in the contents, which the log's tree covers. The column `at` is an index for reports, and anyone
    who can write to the database can set it. An entry whose content is missing or altered counts by its position, like
    the next sound one.
    """
    low, high = start, audit_size.size(connection)
    while low < high:
        middle = (low + high) // 2
        found = _first_sound(connection, middle, high)
        if found is not None and found[1] < moment:
            low = found[0] + 1
        else:
            high = middle
    return low


def _first_sound(connection: Connection, start: int, stop: int) -> tuple[int, datetime] | None:
    """Return number and time of the first entry from `start` up to `stop` whose content matches its leaf."""
    query = ENTRY.where(audit_entries.c.sequence >= start, audit_entries.c.sequence < stop)
    for row in connection.execute(query.order_by(audit_entries.c.sequence).limit(_NEIGHBOURS)):
        entry = StoredEntry(*row)
        logged_at = entry.logged_at()
        if logged_at is not None:
            return entry.sequence, logged_at
    return None
