"""Rows of the audit log's checkpoints: signed notes over its first `size` entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from app.db.tables import audit_checkpoints


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed note over the log's first `size` entries."""

    size: int
    at: datetime
    note: str


def last(connection: Connection, *, within: int | None = None) -> StoredCheckpoint | None:
    """Return the checkpoint over the most entries, or over at most `within` of them; None without one."""
    query = select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc()).limit(1)
    if within is not None:
        query = query.where(audit_checkpoints.c.size <= within)
    row = connection.execute(query).first()
    return StoredCheckpoint(*row) if row else None


def every(connection: Connection) -> Iterator[StoredCheckpoint]:
    """Yield all checkpoints by ascending size."""
    for row in connection.execute(select(audit_checkpoints).order_by(audit_checkpoints.c.size)):
        yield StoredCheckpoint(*row)


def page(connection: Connection, after: int, upto: int, limit: int) -> list[StoredCheckpoint]:
    """Return up to `limit` checkpoints over more than `after` and at most `upto` entries, by ascending size."""
    size = audit_checkpoints.c.size
    query = select(audit_checkpoints).where(size > after, size <= upto).order_by(size).limit(limit)
    return [StoredCheckpoint(*row) for row in connection.execute(query)]


def add(connection: Connection, checkpoint: StoredCheckpoint) -> None:
    """Store a checkpoint. It replaces one of the same size: the hourly one of an idle log."""
    table = audit_checkpoints
    values = {"at": checkpoint.at, "note": checkpoint.note}
    changed = connection.execute(table.update().where(table.c.size == checkpoint.size).values(values)).rowcount
    if not changed:
        connection.execute(insert(table).values(size=checkpoint.size, **values))


def remove(connection: Connection, sizes: Sequence[int]) -> None:
    """Remove checkpoints; later ones prove what they proved."""
    connection.execute(audit_checkpoints.delete().where(audit_checkpoints.c.size.in_(sizes)))
