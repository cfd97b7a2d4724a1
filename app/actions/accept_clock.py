"""The operator says that the host's clock is right: after a long pause, or a correction by hand."""

from __future__ import annotations

from app import high_water
from app.db import service_rows
from app.domain.audit_events import Entry, Event
from app.domain.clock import Judgement
from app.resources import Resources


def accept_clock(resources: Resources) -> Judgement:
    """Believe the host's clock as it is. It still never runs backwards. The vault is told too: its purge may be
    all that runs. Raises DatabaseRolledBack, VaultUnavailable once the database knows.
    """
    with resources.database.writing() as transaction:
        state = service_rows.get(transaction.connection)
        resources.clock.observe(mark=state.time_mark, anchor=state.anchor)
        judgement = resources.clock.accept()
        service_rows.keep_mark(transaction.connection, judgement.now)
        service_rows.keep_anchor(transaction.connection, judgement.anchor)
        service_rows.keep_clock_problem(transaction.connection, None, 0.0)
        transaction.log(Entry(event=Event.CLOCK_ACCEPTED, at=judgement.now, actor="operator"))
    high_water.keep(resources, judgement.now)
    return judgement
