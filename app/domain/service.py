"""Rules of the service as a whole: when it takes nothing in, and when it gives nothing out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.errors import ClockNotTrusted, LockedDown, RestoreNotAccepted, RetentionNotAssured, VaultNotTrusted
from app.domain.retention import deletion_is_assured


@dataclass(frozen=True, slots=True)
class Doubts:
    """What speaks against serving anybody; all None in a service that is well. Problems are sentences for operators."""

    rolled_back_at: datetime | None = None
    locked_down_at: datetime | None = None
    vault_problem: str | None = None
    clock_problem: str | None = None


def require_outflow(doubts: Doubts) -> None:
    """Refuse claims and fetches from a database that was restored and does not know what was used since; in a lockdown;
    from a vault that is an older copy, or lost its mark; and while the clock is not believed: an expiry could not be
    judged.
    """
    if doubts.rolled_back_at is not None:
        raise RestoreNotAccepted
    if doubts.locked_down_at is not None:
        raise LockedDown
    if doubts.vault_problem is not None:
        raise VaultNotTrusted
    if doubts.clock_problem is not None:
        raise ClockNotTrusted


def require_intake(doubts: Doubts, *, last_sweep_at: datetime | None, now: datetime, deadman: timedelta) -> None:
    """Refuse deposits too when no sweep has succeeded lately: what cannot be deleted in time is not taken in (G1)."""
    require_outflow(doubts)
    if not deletion_is_assured(last_sweep_at, now, deadman):
        raise RetentionNotAssured
