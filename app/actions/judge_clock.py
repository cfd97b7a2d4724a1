"""Report whether the host's clock is trusted. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.db import service_rows
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """The time in force, the host's clock, and why the host's clock is not trusted (None if it is)."""

    now: datetime
    host: datetime
    problem: str | None


def judge_clock(resources: Resources) -> ClockStatus:
    """Judge the host's clock now. A problem that the scheduler recorded counts as well."""
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
    resources.vault_time.refresh()
    judgement = resources.clock.judge(state.time)
    problem = judgement.problem or state.clock_problem_of(resources.clock.boot_id)
    return ClockStatus(judgement.now, judgement.now + judgement.lead, problem)
