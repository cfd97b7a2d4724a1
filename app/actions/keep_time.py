"""First thing of every sweep: judge the host's clock, and keep the highest time accepted.

The mark goes into the database and into the vault, with the log's size and root: a database restored from a backup is
shorter than the vault remembers, and `serve` then refuses to start. While the clock is not believed, deposits and
fetches are refused; destruction goes on by the boot clock's count, and believes the host's clock after 24 h of running.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, text

from app import high_water
from app.db import service_rows
from app.db.service_rows import ServiceState
from app.domain.audit_events import Entry, Event
from app.domain.clock import DATABASE_AHEAD, WAIT_FOR_ACCEPTANCE, Judgement
from app.high_water import DatabaseRolledBack
from app.resources import Resources

log = structlog.get_logger()


def keep_time(resources: Resources) -> Judgement:
    """Judge, and keep the result. Raises DatabaseRolledBack, once every process refuses by it; VaultUnavailable when
    the mark cannot be kept there.
    """
    with resources.database.writing() as transaction:
        connection = transaction.connection
        state = service_rows.get(connection)
        resources.clock.observe(mark=state.time_mark, anchor=state.anchor)
        judgement = resources.clock.judge(_ceiling(connection))
        waited = _waited(state, judgement)
        if judgement.problem and waited >= WAIT_FOR_ACCEPTANCE.total_seconds():
            judgement = resources.clock.accept()
            transaction.log(Entry(event=Event.CLOCK_ACCEPTED, at=judgement.now, actor="scheduler", outcome="waited"))
        elif judgement.problem and state.clock_problem is None:
            transaction.log(Entry(event=Event.CLOCK_DISTRUSTED, at=judgement.now, actor="scheduler"))
        if judgement.problem:
            log.error("clock_not_trusted", problem=judgement.problem, waited_seconds=int(waited), alert=True)
        service_rows.keep_mark(connection, judgement.now)
        service_rows.keep_anchor(connection, judgement.anchor)
        service_rows.keep_clock_problem(connection, judgement.problem, waited if judgement.problem else 0.0)
    try:
        high_water.keep(resources, judgement.now)
    except DatabaseRolledBack:
        with resources.database.writing() as transaction:
            service_rows.note_rolled_back(transaction.connection, judgement.now)
        raise
    return judgement


def _ceiling(connection: Connection) -> datetime | None:
    """The latest time that PostgreSQL's own clock allows; SQLite has none but the host's."""
    if connection.dialect.name != "postgresql":
        return None
    database_time: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return database_time + DATABASE_AHEAD


def _waited(state: ServiceState, judgement: Judgement) -> float:
    """For how many seconds of running the clock has not been believed: accepted time goes on while the service runs."""
    if state.clock_problem is None:
        return 0.0
    return state.clock_waited_seconds + max(timedelta(0), judgement.now - state.time_mark).total_seconds()
