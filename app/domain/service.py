"""Rules of the service as a whole: when it takes nothing in, and when it gives nothing out."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.domain.errors import ClockNotTrusted, LockedDown, RestoreNotAccepted, RetentionNotAssured
from app.domain.retention import deletion_is_assured


def require_outflow(
    *, rolled_back_at: datetime | None, locked_down_at: datetime | None, clock_problem: str | None
) -> None:
    """Refuse claims and fetches from a database that was restored and does not know what was used since; in a lockdown;
    and while the clock is not believed: an expiry could not be judged.
    """
    if rolled_back_at is not None:
        raise RestoreNotAccepted
    if locked_down_at is not None:
        raise LockedDown
    if clock_problem is not None:
        raise ClockNotTrusted


def require_intake(
    *,
    rolled_back_at: datetime | None,
    locked_down_at: datetime | None,
    clock_problem: str | None,
    last_sweep_at: datetime | None,
    now: datetime,
    deadman: timedelta,
) -> None:
    """Refuse deposits too when no sweep has succeeded lately: what cannot be deleted in time is not taken in (G1)."""
    require_outflow(rolled_back_at=rolled_back_at, locked_down_at=locked_down_at, clock_problem=clock_problem)
    if not deletion_is_assured(last_sweep_at, now, deadman):
        raise RetentionNotAssured
