"""Share rules: one recipient's right to fetch a transfer once, the password attempts, and the end states."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import Refusal, ShareExpired, ShareLocked, ShareNotFound, ShareUsed, ShareWithdrawn


class ShareState(StrEnum):
    """A `prepared` share waits for the key that a sealing program wraps, and is hidden from recipients; an `issued` one
    can be claimed; a `claimed` one is within its window. All other states are final and have no keys left.
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
"""An attempt reserved this long ago and never settled belonged to a process that died; it remains spent."""


def state_shown(state: ShareState, expires_at: datetime, now: datetime) -> ShareState:
    """Return the state as of `now`: an open share past its expiry is expired, even before the sweep."""
    return ShareState.EXPIRED if state in OPEN_STATES and now >= expires_at else state


def refusal(state: ShareState) -> Refusal | None:
    """Return the refusal for claiming a share in this state, or None if it can be claimed."""
    kind = _REFUSALS.get(state)
    return kind() if kind else None


def ends_transfer_early(states: Iterable[ShareState], *, keep_until_expiry: bool) -> bool:
    """Return whether the transfer may be deleted before its expiry: at least one share is completed, every other one is
    completed or withdrawn, and the depositor did not ask to keep the transfer (docs/http-api.md).
    """
    states = list(states)
    done = {ShareState.COMPLETED, ShareState.WITHDRAWN}
    return not keep_until_expiry and ShareState.COMPLETED in states and all(state in done for state in states)
