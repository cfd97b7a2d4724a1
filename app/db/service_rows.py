"""The single row about this installation: its id, log origin, time, last sweep and lockdown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    insert,
    literal_column,
    or_,
    select,
    text,
    type_coerce,
    update,
)

from app.db.column_types import LenientTime, UtcTime
from app.db.tables import service_state, sweep_gaps
from app.domain.clock import Anchor, DatabaseTime, Uptime

_LONGEST_BOOT = 1e10
"""A limit that no boot clock reaches, in seconds (three centuries)."""
_NEVER = datetime(9000, 1, 1, tzinfo=UTC)
"""The time of an unreadable anchor, with which no clock agrees."""

PROBLEM_SECONDS = 60
"""A scheduler repeats each second what it finds. One that has been silent for this long has stopped."""

_DATABASE_MICROSECONDS = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
_NOW = literal_column(_DATABASE_MICROSECONDS, UtcTime)
_A_MINUTE_AGO = literal_column(f"{_DATABASE_MICROSECONDS} - {PROBLEM_SECONDS * 1_000_000}", UtcTime)

LONG_GAP = timedelta(seconds=60)
"""A sweep runs each second; a longer gap than this is recorded for the retention report."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of the installation. Boot clock and waiting time in seconds. `database_clock` is not a column: it is
    the database's own clock when the row was read, on databases that have one.
    """

    installation_id: str
    created_at: datetime
    log_origin: str
    time_mark: datetime
    anchor_at: datetime | None = None
    anchor_boot_id: str | None = None
    anchor_boot_seconds: float | None = None
    clock_problem: str | None = None
    clock_waited_seconds: float = 0.0
    last_sweep_at: datetime | None = None
    last_drill_at: datetime | None = None
    locked_down_at: datetime | None = None
    rolled_back_at: datetime | None = None
    outflow_refused_at: datetime | None = None
    vault_problem: str | None = None
    intake_off_at: datetime | None = None
    clock_problem_boot_id: str | None = None
    vault_problem_boot_id: str | None = None
    database_clock: datetime | None = None

    @property
    def time(self) -> DatabaseTime:
        """The time as stored in the database, to be compared with the clock."""
        return DatabaseTime(self.time_mark, self.anchor, self.database_clock)

    def clock_problem_of(self, boot_id: str) -> str | None:
        """Return the clock's problem if it concerns the host with this boot. Each host judges its own clock, so one
        with a wrong clock does not stop the others.
        """
        return self.clock_problem if self.clock_problem_boot_id in {None, boot_id} else None

    def vault_problem_of_another(self, boot_id: str) -> str | None:
        """Return the vault's problem if the scheduler of another host found it."""
        return self.vault_problem if self.vault_problem_boot_id not in {None, boot_id} else None

    @property
    def anchor(self) -> Anchor | None:
        """The clock's anchor, or None if none was stored."""
        if self.anchor_at is None or self.anchor_boot_id is None or self.anchor_boot_seconds is None:
            return None
        seconds: object = self.anchor_boot_seconds  # SQLite accepts any type in any column
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LONGEST_BOOT:
            return Anchor(_NEVER, Uptime(self.anchor_boot_id, 0.0))
        return Anchor(min(self.anchor_at, _NEVER), Uptime(self.anchor_boot_id, seconds))


_NAMES = [name for name in ServiceState.__dataclass_fields__ if name != "database_clock"]


def _lenient(name: str) -> ColumnElement[Any]:
    """Return a column of the row. An unreadable time must stop neither emergency controls nor the sweep."""
    column = service_state.c[name]
    return type_coerce(column, LenientTime()).label(name) if isinstance(column.type, UtcTime) else column


_SELECT = select(*(_lenient(name) for name in _NAMES)).order_by(service_state.c.id).limit(1)
# built once: every deposit runs it

WITH_CLOCK = {"postgresql": _SELECT.add_columns(literal_column("clock_timestamp()"))}
"""The same query for databases with their own clock; SQLite uses the host's."""


def find(connection: Connection) -> ServiceState | None:
    """Return the row, or None in a database that is not initialised."""
    row = connection.execute(WITH_CLOCK.get(connection.dialect.name, _SELECT)).first()
    return ServiceState(*row) if row else None


def find_installation_id(connection: Connection) -> str | None:
    """Return the installation's id, in any schema version, or None in a database that is not initialised."""
    installation_id: str | None = connection.execute(select(service_state.c.installation_id)).scalar()
    return installation_id


def get(connection: Connection) -> ServiceState:
    """Return the row of an initialised database."""
    return ServiceState(*connection.execute(WITH_CLOCK.get(connection.dialect.name, _SELECT)).one())


def lock(connection: Connection) -> None:
    """Lock the row until the transaction ends. On SQLite a transaction that writes holds the only lock already."""
    connection.execute(select(service_state.c.id).with_for_update())


def create(connection: Connection, state: ServiceState) -> None:
    """Initialise a new database."""
    values = {name: getattr(state, name) for name in _NAMES}
    connection.execute(insert(service_state).values(id=1, **values))


_RECORD_GAP = text(
    "INSERT INTO sweep_gaps (ended_at, began_at) VALUES (:ended_at, :began_at) ON CONFLICT (ended_at) DO NOTHING"
).bindparams(bindparam("ended_at", type_=UtcTime), bindparam("began_at", type_=UtcTime))


def record_sweep(connection: Connection, now: datetime) -> None:
    """Record a successful sweep, and the gap before it if it exceeds LONG_GAP. A clock that was set back can bring the
    same instant again: the gap that ended then is recorded already, and must not make the sweep fail.
    """
    last = connection.execute(select(_lenient("last_sweep_at")).with_for_update()).scalar()
    if last is not None and now - last > LONG_GAP:
        connection.execute(_RECORD_GAP, {"ended_at": now, "began_at": last})
    connection.execute(update(service_state).values(last_sweep_at=now))


def gaps_since(connection: Connection, moment: datetime) -> list[tuple[datetime, datetime]]:
    """Return the long gaps between successful sweeps that ended at or after `moment`: (from, to)."""
    query = select(sweep_gaps.c.began_at, sweep_gaps.c.ended_at).where(sweep_gaps.c.ended_at >= moment)
    return [(began, ended) for began, ended in connection.execute(query.order_by(sweep_gaps.c.ended_at))]


def record_drill(connection: Connection, now: datetime) -> None:
    """Record a passed restore drill."""
    connection.execute(update(service_state).values(last_drill_at=now))


def keep_mark(connection: Connection, now: datetime) -> None:
    """Raise the highest accepted time to `now`; never lowers it."""
    connection.execute(update(service_state).where(service_state.c.time_mark < now).values(time_mark=now))


def keep_anchor(connection: Connection, anchor: Anchor) -> None:
    """Store the anchor of the clock."""
    connection.execute(
        update(service_state).values(
            anchor_at=anchor.wall,
            anchor_boot_id=anchor.uptime.boot_id,
            anchor_boot_seconds=anchor.uptime.seconds,
        )
    )


@dataclass(frozen=True, slots=True)
class Problems:
    """Why clock and key vault are not trusted (None: they are), as the scheduler of the host with this boot found; and
    for how many seconds of uptime the host's clock has been ahead.
    """

    boot_id: str
    clock: str | None = None
    vault: str | None = None
    waited_seconds: float = 0.0


def keep_problems(connection: Connection, found: Problems) -> None:
    """Store what a scheduler found. What that of another host found stays, until that host has not repeated it for
    PROBLEM_SECONDS. Only a database with a clock of its own has schedulers on several hosts.
    """
    for what, problem in (("clock", found.clock), ("vault", found.vault)):
        values: dict[str, Any] = {f"{what}_problem": problem}
        if what == "clock":
            values["clock_waited_seconds"] = found.waited_seconds
        stored = update(service_state)
        if connection.dialect.name in WITH_CLOCK:
            since, by = service_state.c[f"{what}_problem_at"], service_state.c[f"{what}_problem_boot_id"]
            values |= {by.name: found.boot_id if problem else None, since.name: _NOW if problem else None}
            if problem is None:
                stored = stored.where(or_(by.is_(None), by == found.boot_id, since < _A_MINUTE_AGO))
        connection.execute(stored.values(values))


def forget_clock_problem(connection: Connection) -> None:
    """Clear the clock's problem after an operator accepted the clock."""
    values = {"clock_problem": None, "clock_problem_boot_id": None, "clock_waited_seconds": 0.0}
    connection.execute(update(service_state).values(values))


def forget_vault_problem(connection: Connection) -> None:
    """Clear the key vault's problem after an operator accepted the vault."""
    connection.execute(update(service_state).values(vault_problem=None, vault_problem_boot_id=None))


def set_mark(connection: Connection, now: datetime) -> None:
    """Set the highest accepted time, up or down, after an operator accepted the clock."""
    connection.execute(update(service_state).values(time_mark=now))


def refused_since(connection: Connection) -> datetime | None:
    """Return the start of the refused time not yet added to claim windows; None if recipients are not refused."""
    since: datetime | None = connection.execute(select(_lenient("outflow_refused_at")).limit(1)).scalar_one()
    return since


def replace_refused_since(connection: Connection, before: datetime | None, after: datetime | None) -> bool:
    """Record since when recipients are refused. Return False if another sweeper has replaced `before`."""
    column = service_state.c.outflow_refused_at
    is_before = column.is_(None) if before is None else column == before
    return connection.execute(update(service_state).where(is_before).values(outflow_refused_at=after)).rowcount == 1


def lockdown_since(connection: Connection) -> datetime | None:
    """Return the start of the lockdown, or None if there is none. Reads only this column."""
    since: datetime | None = connection.execute(
        select(_lenient("locked_down_at")).order_by(service_state.c.id).limit(1)
    ).scalar_one()
    return since


def set_lockdown(connection: Connection, since: datetime | None) -> None:
    """Begin (a time) or end (None) the lockdown."""
    connection.execute(update(service_state).values(locked_down_at=since))


def intake_off_since(connection: Connection) -> datetime | None:
    """Return the time at which intake was stopped, or None if it is on. Reads this column alone."""
    since: datetime | None = connection.execute(select(_lenient("intake_off_at")).limit(1)).scalar_one()
    return since


def set_intake_off(connection: Connection, since: datetime | None) -> None:
    """Stop (a time) or resume (None) the intake of new transfers."""
    connection.execute(update(service_state).values(intake_off_at=since))


def note_rolled_back(connection: Connection, since: datetime) -> None:
    """Record that this database was restored from a backup; the first recorded time is kept."""
    connection.execute(
        update(service_state).where(service_state.c.rolled_back_at.is_(None)).values(rolled_back_at=since)
    )


def accept_rolled_back(connection: Connection) -> None:
    """Clear the restore record after an operator accepted the database."""
    connection.execute(update(service_state).values(rolled_back_at=None))


def set_log_origin(connection: Connection, origin: str) -> None:
    """Set the log's origin."""
    connection.execute(update(service_state).values(log_origin=origin))
