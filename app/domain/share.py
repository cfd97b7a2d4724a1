"""Rules of a share: one recipient's right to fetch a transfer once, its attempts and its ends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import Refusal, ShareExpired, ShareLocked, ShareNotFound, ShareUsed, ShareWithdrawn


class ShareState(StrEnum):
    """`prepared` waits for the key that a sealing program wraps, and is unknown to recipients; `issued` can be claimed,
    `claimed` is within its window; all others are ends and have no keys left.
    """

    PREPARED = "prepared"
    ISSUED = "issued"
    CLAIMED = "claimed"
    COMPLETED = "completed"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    LOCKED = "locked"
    EXPIRED = "expired"


OPEN_STATES = (ShareState.PREPARED, ShareState.ISSUED, ShareState.CLAIMED)

_REFUSALS: dict[ShareState, type[Refusal]] = {
    ShareState.PREPARED: ShareNotFound,
    ShareState.CLAIMED: ShareUsed,
    ShareState.COMPLETED: ShareUsed,
    ShareState.LAPSED: ShareUsed,
    ShareState.WITHDRAWN: ShareWithdrawn,
    ShareState.LOCKED: ShareLocked,
    ShareState.EXPIRED: ShareExpired,
}

STALE_ATTEMPT = timedelta(seconds=60)
"""An attempt that was reserved this long ago and never settled belonged to a process that died; it stays spent."""


def state_shown(state: ShareState, expires_at: datetime, now: datetime) -> ShareState:
    """The state as of now: an open share past its expiry is expired, whether or not a sweep has passed."""
    return ShareState.EXPIRED if state in OPEN_STATES and now >= expires_at else state


def refusal(state: ShareState) -> Refusal | None:
    """Why a share in this state cannot be claimed, or None when it can."""
    kind = _REFUSALS.get(state)
    return kind() if kind else None


def ends_transfer_early(states: Iterable[ShareState], *, keep_until_expiry: bool) -> bool:
    """Whether the transfer may go now: somebody has everything, and nobody else is still waiting for it.

    True when at least one share is completed, every other one completed or withdrawn, and the depositor did not ask
    to keep the transfer (docs/http-api.md).
    """
    states = list(states)
    done = {ShareState.COMPLETED, ShareState.WITHDRAWN}
    return not keep_until_expiry and ShareState.COMPLETED in states and all(state in done for state in states)
