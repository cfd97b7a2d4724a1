"""Answer the question of every day: is everything gone that should be, and does the service know it?

Reads only. What cannot be proved (exit code 2) outranks what is overdue (1), which outranks clean (0).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db import service_rows, transfer_rows
from app.domain.retention import deletion_is_assured
from app.resources import Resources
from app.storage.errors import StorageError

SLACK = timedelta(seconds=5)
"""A sweep each second needs a moment: what is due for less than this is on its way, not overdue."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What is held, what is overdue, and whether the sweeper works. Lateness in seconds."""

    at: datetime
    transfers: dict[str, int]
    overdue: int
    worst_lateness_s: int
    failing: list[str]
    keys_past_due: int | None
    last_sweep_at: datetime | None
    sweeping: bool
    vault_problem: str | None

    @property
    def exit_code(self) -> int:
        """0 clean, 1 something is overdue, 2 it cannot be proved."""
        if not self.sweeping or self.keys_past_due is None:
            return 2
        return 1 if self.overdue or self.keys_past_due or self.failing else 0


def report_retention(resources: Resources) -> RetentionReport:
    """Look at the database and the vault, each for itself."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
        counts = transfer_rows.count_by_state(connection)
        overdue, oldest = transfer_rows.overdue(connection, now - SLACK)
        failing = [row.id for row in transfer_rows.failing(connection, 100)]
    keys, problem = _keys_past_due(resources, now - SLACK)
    return RetentionReport(
        at=now,
        transfers=counts,
        overdue=overdue,
        worst_lateness_s=int((now - oldest).total_seconds()) if oldest else 0,
        failing=failing,
        keys_past_due=keys,
        last_sweep_at=state.last_sweep_at,
        sweeping=deletion_is_assured(state.last_sweep_at, now, resources.settings.deadman),
        vault_problem=problem,
    )


def _keys_past_due(resources: Resources, due: datetime) -> tuple[int | None, str | None]:
    """Ask the vault itself: its entries' names carry their expiry."""
    try:
        return sum(name.expires_at <= due for name in resources.vault.names()), None
    except StorageError as error:
        return None, str(error)
