"""Say whether the host's clock is believed. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.db import service_rows
from app.domain.clock import system_time
from app.resources import Resources


@dataclass(frozen=True, slots=True)
class ClockSeen:
    """The time that the service goes by, the host's, and why they differ, if they do."""

    now: datetime
    host: datetime
    problem: str | None


def judge_clock(resources: Resources) -> ClockSeen:
    """Judge by what is stored and by the host's clock at this moment."""
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
    resources.clock.observe(mark=state.time_mark, anchor=state.anchor)
    judgement = resources.clock.judge()
    return ClockSeen(judgement.now, system_time(), state.clock_problem or judgement.problem)
