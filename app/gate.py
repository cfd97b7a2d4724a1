"""The two questions before anything is taken in or given out, asked in the transaction that acts on the answer."""

from __future__ import annotations

from sqlalchemy import Connection

from app.db import service_rows
from app.db.service_rows import ServiceState
from app.domain.service import require_intake, require_outflow
from app.resources import Resources


def require_open_for_intake(resources: Resources, connection: Connection) -> None:
    """Raises RestoreNotAccepted, LockedDown, ClockNotTrusted, RetentionNotAssured."""
    state = _state(resources, connection)
    require_intake(
        rolled_back_at=state.rolled_back_at,
        locked_down_at=state.locked_down_at,
        clock_problem=_clock_problem(resources, state),
        last_sweep_at=state.last_sweep_at,
        now=resources.clock.now(),
        deadman=resources.settings.deadman,
    )


def require_open_for_outflow(resources: Resources, connection: Connection) -> None:
    """Raises RestoreNotAccepted, LockedDown, ClockNotTrusted."""
    state = _state(resources, connection)
    require_outflow(
        rolled_back_at=state.rolled_back_at,
        locked_down_at=state.locked_down_at,
        clock_problem=_clock_problem(resources, state),
    )


def _state(resources: Resources, connection: Connection) -> ServiceState:
    state = service_rows.get(connection)
    resources.clock.observe(mark=state.time_mark, anchor=state.anchor)
    return state


def _clock_problem(resources: Resources, state: ServiceState) -> str | None:
    """The sweeper's judgement, or this process's own, which needs no sweep to see a leap."""
    return state.clock_problem or resources.clock.judge().problem
