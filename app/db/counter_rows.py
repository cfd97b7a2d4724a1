"""Persistent monotonic counters: the sweep and lateness metrics of `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from app.db.tables import counters


def add(connection: Connection, increments: Mapping[str, int]) -> None:
    """Increment counters; a missing one is created at zero."""
    for name, increment in increments.items():
        changed = connection.execute(
            update(counters).where(counters.c.name == name).values(value=counters.c.value + increment)
        )
        if changed.rowcount == 0:
            connection.execute(insert(counters).values(name=name, value=increment))


def every(connection: Connection) -> dict[str, int]:
    """Return all counters by name."""
    return {row.name: row.value for row in connection.execute(select(counters.c.name, counters.c.value))}
