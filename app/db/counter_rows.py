"""Persistent monotonic counters: the sweep and lateness metrics of `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select, text

from app.db.tables import counters

_ADD = text(
    "INSERT INTO counters (name, value) VALUES (:name, :increment)"
    " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value"
)


def add(connection: Connection, increments: Mapping[str, int]) -> None:
    """Increment counters, by name, so that concurrent transactions lock them in the same order. A missing one is
    created at zero, also when two transactions do so at once.
    """
    for name, increment in sorted(increments.items()):
        connection.execute(_ADD, {"name": name, "increment": increment})


def every(connection: Connection) -> dict[str, int]:
    """Return all counters by name."""
    return {row.name: row.value for row in connection.execute(select(counters.c.name, counters.c.value))}
