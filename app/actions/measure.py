"""Measure what operators monitor: the oldest transfer's age, overdue transfers, sweeps, and lateness of deletion."""

from __future__ import annotations

from dataclasses import dataclass

from app.db import access_token_rows, counter_rows, retention_figures, service_rows
from app.domain.retention import deletion_is_assured
from app.lifecycle.gate import doubts_of, forged_log
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class Measures:
    """Measurements taken in one transaction. Ages in seconds; `counters` are monotonic."""

    transfers: dict[str, int]
    oldest_age_s: float
    overdue: int
    failing: int
    since_sweep_s: float | None
    deletion_assured: bool
    clock_trusted: bool
    vault_trusted: bool
    log_trusted: bool
    separate_users: bool
    locked_down: bool
    intake_off: bool
    reserve_in_place: bool
    tokens_ending_soon: int
    counters: dict[str, int]


def measure(resources: Resources) -> Measures:
    """Take all measurements in one short transaction."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
        doubts = doubts_of(resources, state)
        oldest = retention_figures.oldest_held(connection)
        last = state.last_sweep_at
        return Measures(
            transfers=retention_figures.count_by_state(connection),
            oldest_age_s=(now - oldest).total_seconds() if oldest else 0.0,
            overdue=retention_figures.overdue(connection, now)[0],
            failing=len(retention_figures.failing(connection, 1000)),
            since_sweep_s=(now - last).total_seconds() if last else None,
            deletion_assured=deletion_is_assured(last, now, resources.settings.deadman),
            clock_trusted=doubts.clock_problem is None,
            vault_trusted=doubts.vault_problem is None,
            log_trusted=forged_log(resources) is None,
            separate_users=resources.settings.separate_users,
            locked_down=state.locked_down_at is not None,
            intake_off=state.intake_off_at is not None,
            reserve_in_place=resources.database.reserve.in_place(),
            tokens_ending_soon=len(access_token_rows.ending_soon(connection, now)),
            counters=counter_rows.every(connection),
        )
