"""The one row about this installation: its id, its log's origin, the time mark and the last sweep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from app.db.tables import service_state


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What this installation is and how its deletion fares."""

    installation_id: str
    created_at: datetime
    log_origin: str
    time_mark: datetime
    last_sweep_at: datetime | None


_COLUMNS = [
    service_state.c[name] for name in ("installation_id", "created_at", "log_origin", "time_mark", "last_sweep_at")
]

_SELECT = select(*_COLUMNS)  # built once: every deposit asks


def find(connection: Connection) -> ServiceState | None:
    """The row, or None in a database that nobody has taken into use."""
    row = connection.execute(_SELECT).first()
    return ServiceState(*row) if row else None


def get(connection: Connection) -> ServiceState:
    """The row of a database in use."""
    return ServiceState(*connection.execute(_SELECT).one())


def create(connection: Connection, state: ServiceState) -> None:
    """Take a new database into use."""
    values = {name: getattr(state, name) for name in ServiceState.__dataclass_fields__}
    connection.execute(insert(service_state).values(id=1, **values))


def record_sweep(connection: Connection, now: datetime, *, succeeded: bool) -> None:
    """Raise the time mark, and note the sweep if it succeeded."""
    values = {"time_mark": now, "last_sweep_at": now} if succeeded else {"time_mark": now}
    connection.execute(update(service_state).where(service_state.c.time_mark <= now).values(values))
