"""Counters that only grow, kept across restarts: what `/metrics` shows of sweeps and of lateness."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from app.db.tables import counters


def add(connection: Connection, increments: Mapping[str, int]) -> None:
    """Add to counters; a new one starts at zero."""
    for name, increment in increments.items():
        changed = connection.execute(
            update(counters).where(counters.c.name == name).values(value=counters.c.value + increment)
        )
        if changed.rowcount == 0:
            connection.execute(insert(counters).values(name=name, value=increment))


def every(connection: Connection) -> dict[str, int]:
    """All counters."""
    return {row.name: row.value for row in connection.execute(select(counters.c.name, counters.c.value))}
