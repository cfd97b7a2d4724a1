"""Rules of the service as a whole: when it refuses deposits, and when it refuses claims and downloads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.errors import ClockNotTrusted, LockedDown, RestoreNotAccepted, RetentionNotAssured, VaultNotTrusted
from app.domain.retention import deletion_is_assured


@dataclass(frozen=True, slots=True)
class Doubts:
    """Reasons not to serve anybody; all None in a healthy service. Problems are sentences for operators."""

    rolled_back_at: datetime | None = None
    locked_down_at: datetime | None = None
    vault_problem: str | None = None
    clock_problem: str | None = None


def require_outflow(doubts: Doubts) -> None:
    """Refuse claims and downloads if the database was restored and so lacks later uses of links, during a lockdown, if
    the vault is an older copy or lost its mark, and while the clock is not trusted, because no expiry can be judged.
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
    """Refuse deposits as in `require_outflow`, and if no sweep succeeded within `deadman`: data that cannot be deleted
    in time is not accepted (G1).
    """
    require_outflow(doubts)
    if not deletion_is_assured(last_sweep_at, now, deadman):
        raise RetentionNotAssured
