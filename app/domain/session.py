"""Session rules: how long a signed-in browser is believed, and why a session ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import SessionEnded

IDLE = timedelta(minutes=30)
"""A session ends after this long without a request."""

LONGEST = timedelta(hours=10)
"""A session ends this long after sign-in at the latest: a working day."""

NOTED_EVERY = timedelta(minutes=1)
"""The use of a session is written at most this often, so a session may end this much before IDLE has passed."""

SIGN_IN_LASTS = timedelta(minutes=10)
"""The time between the redirect to the provider and the return from it."""


class SessionEnding(StrEnum):
    """Why a session ended: the `outcome` of `session.ended`."""

    SIGNED_OUT = "signed_out"
    SIGNED_OUT_AT_PROVIDER = "signed_out_at_provider"
    REPLACED = "replaced"
    REVOKED = "revoked"
    TOKEN_ENDED = "token_ended"  # noqa: S105 - a word of the log
    IDLE = "idle"
    EXPIRED = "expired"


def use_is_due(used_at: datetime, now: datetime) -> bool:
    """Return whether a use is to be written, after the one at `used_at`."""
    return now - used_at >= NOTED_EVERY


def require_running(*, used_at: datetime, expires_at: datetime, ended_at: datetime | None, now: datetime) -> None:
    """Raise SessionEnded for a session that has ended, expired, or was idle for too long."""
    if ended_at is not None or ending_due(used_at=used_at, expires_at=expires_at, now=now) is not None:
        raise SessionEnded


def ending_due(*, used_at: datetime, expires_at: datetime, now: datetime) -> SessionEnding | None:
    """Return why time alone ends a session now, or None."""
    if now >= expires_at:
        return SessionEnding.EXPIRED
    return SessionEnding.IDLE if now >= used_at + IDLE else None
