"""The one row about this installation: its id, its log's origin, its time, its last sweep, its lockdown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, literal_column, select, type_coerce, update

from app.db.tables import LenientTime, UtcTime, service_state, sweep_gaps
from app.domain.clock import Anchor, DatabaseTime, Uptime

_LONGEST_BOOT = 1e10
"""No machine runs for so many seconds (three centuries)."""
_NEVER = datetime(9000, 1, 1, tzinfo=UTC)
"""What an anchor that cannot be read counts from: no clock agrees with it."""

LONG_GAP = timedelta(seconds=60)
"""A sweep runs each second; a pause longer than this is kept for the retention report."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What this installation is and how its deletion fares. Boot clock and waiting time in seconds. `database_clock` is
    no column: it is the database's own clock as the row was read, where it has one.
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
    database_clock: datetime | None = None

    @property
    def time(self) -> DatabaseTime:
        """What the database says of the time, to be compared with the clock."""
        return DatabaseTime(self.time_mark, self.anchor, self.database_clock)

    @property
    def anchor(self) -> Anchor | None:
        """The clock's anchor, once one was stored."""
        if self.anchor_at is None or self.anchor_boot_id is None or self.anchor_boot_seconds is None:
            return None
        seconds: object = self.anchor_boot_seconds  # SQLite takes any value anywhere
        if not isinstance(seconds, (int, float)) or not 0 <= seconds <= _LONGEST_BOOT:
            return Anchor(_NEVER, Uptime(self.anchor_boot_id, 0.0))
        return Anchor(min(self.anchor_at, _NEVER), Uptime(self.anchor_boot_id, seconds))


_NAMES = [name for name in ServiceState.__dataclass_fields__ if name != "database_clock"]


def _lenient(name: str) -> ColumnElement[Any]:
    """A column of the row. A time that cannot be read must not stop emergency controls, nor the sweep."""
    column = service_state.c[name]
    return type_coerce(column, LenientTime()).label(name) if isinstance(column.type, UtcTime) else column


_SELECT = select(*(_lenient(name) for name in _NAMES)).order_by(service_state.c.id).limit(1)
# built once: every deposit asks

WITH_CLOCK = {"postgresql": _SELECT.add_columns(literal_column("clock_timestamp()"))}
"""The same for databases that have a clock of their own; SQLite has none but the host's."""


def find(connection: Connection) -> ServiceState | None:
    """The row, or None in a database that nobody has taken into use."""
    row = connection.execute(WITH_CLOCK.get(connection.dialect.name, _SELECT)).first()
    return ServiceState(*row) if row else None


def find_installation_id(connection: Connection) -> str | None:
    """The installation's id, in a database of any schema so far; None when nobody has taken it into use."""
    installation_id: str | None = connection.execute(select(service_state.c.installation_id)).scalar()
    return installation_id


def get(connection: Connection) -> ServiceState:
    """The row of a database in use."""
    return ServiceState(*connection.execute(WITH_CLOCK.get(connection.dialect.name, _SELECT)).one())


def lock(connection: Connection) -> None:
    """Lock the row until the transaction ends. On SQLite a transaction that writes holds the only lock already."""
    connection.execute(select(service_state.c.id).with_for_update())


def create(connection: Connection, state: ServiceState) -> None:
    """Take a new database into use."""
    values = {name: getattr(state, name) for name in _NAMES}
    connection.execute(insert(service_state).values(id=1, **values))


def record_sweep(connection: Connection, now: datetime) -> None:
    """Note a sweep that succeeded, and the gap before it if that was a long one."""
    last = connection.execute(select(_lenient("last_sweep_at"))).scalar()
    if last is not None and now - last > LONG_GAP:
        connection.execute(insert(sweep_gaps).values(ended_at=now, began_at=last))
    connection.execute(update(service_state).values(last_sweep_at=now))


def gaps_since(connection: Connection, moment: datetime) -> list[tuple[datetime, datetime]]:
    """The long gaps between successful sweeps that ended after that moment: (from, to)."""
    query = select(sweep_gaps.c.began_at, sweep_gaps.c.ended_at).where(sweep_gaps.c.ended_at >= moment)
    return [(began, ended) for began, ended in connection.execute(query.order_by(sweep_gaps.c.ended_at))]


def record_drill(connection: Connection, now: datetime) -> None:
    """Note a restore drill that passed."""
    connection.execute(update(service_state).values(last_drill_at=now))


def keep_mark(connection: Connection, now: datetime) -> None:
    """Raise the highest time accepted."""
    connection.execute(update(service_state).where(service_state.c.time_mark < now).values(time_mark=now))


def keep_anchor(connection: Connection, anchor: Anchor) -> None:
    """Keep the moment that time is counted from."""
    connection.execute(
        update(service_state).values(
            anchor_at=anchor.wall,
            anchor_boot_id=anchor.uptime.boot_id,
            anchor_boot_seconds=anchor.uptime.seconds,
        )
    )


def keep_problems(connection: Connection, *, clock: str | None, vault: str | None, waited_seconds: float) -> None:
    """Keep why clock and key vault are not believed (None: they are), and for how many seconds of running the host's
    clock has been ahead.
    """
    connection.execute(
        update(service_state).values(clock_problem=clock, vault_problem=vault, clock_waited_seconds=waited_seconds)
    )


def forget_clock_problem(connection: Connection) -> None:
    """The clock is believed again, by an operator's word."""
    connection.execute(update(service_state).values(clock_problem=None, clock_waited_seconds=0.0))


def forget_vault_problem(connection: Connection) -> None:
    """The key vault is believed again, by an operator's word."""
    connection.execute(update(service_state).values(vault_problem=None))


def set_mark(connection: Connection, now: datetime) -> None:
    """Set the highest time accepted, up or down: an operator says what time it is."""
    connection.execute(update(service_state).values(time_mark=now))


def refused_since(connection: Connection) -> datetime | None:
    """Since when recipients have been refused, as far as that was not added to their windows. None: they are not."""
    since: datetime | None = connection.execute(select(_lenient("outflow_refused_at")).limit(1)).scalar_one()
    return since


def replace_refused_since(connection: Connection, before: datetime | None, after: datetime | None) -> bool:
    """Note since when recipients are refused. False when another sweeper replaced what was `before`."""
    column = service_state.c.outflow_refused_at
    is_before = column.is_(None) if before is None else column == before
    return connection.execute(update(service_state).where(is_before).values(outflow_refused_at=after)).rowcount == 1


def lockdown_since(connection: Connection) -> datetime | None:
    """Since when the lockdown is on; None when it is not. Reads this column alone."""
    since: datetime | None = connection.execute(
        select(_lenient("locked_down_at")).order_by(service_state.c.id).limit(1)
    ).scalar_one()
    return since


def set_lockdown(connection: Connection, since: datetime | None) -> None:
    """Begin (a time) or end (None) the lockdown."""
    connection.execute(update(service_state).values(locked_down_at=since))


def note_rolled_back(connection: Connection, since: datetime) -> None:
    """Note that this database was restored from a backup; keeps the first time."""
    connection.execute(
        update(service_state).where(service_state.c.rolled_back_at.is_(None)).values(rolled_back_at=since)
    )


def accept_rolled_back(connection: Connection) -> None:
    """Go on with a database that was restored."""
    connection.execute(update(service_state).values(rolled_back_at=None))


def set_log_origin(connection: Connection, origin: str) -> None:
    """Begin a new origin of the log."""
    connection.execute(update(service_state).values(log_origin=origin))
