"""Rules of a claim: the window in which its files can be fetched, how much of them, and how it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.domain.share import ShareState

ALLOWANCE_FACTOR = 3
"""A claim may fetch its files at most three times over (docs/http-api.md)."""

DELIVERED_WINDOW = timedelta(minutes=5)
"""What is left of the window after the one-line `content` route has sent its last byte (docs/http-api.md)."""


def window_end(now: datetime, window: timedelta, expires_at: datetime) -> datetime:
    """When the window closes if nothing more is fetched: never past the expiry."""
    return min(now + window, expires_at)


def window_with_refused(window_until: datetime, refused: timedelta, expires_at: datetime) -> datetime:
    """When the window closes if the service itself refused recipients for so long: never past the expiry."""
    return min(window_until + max(timedelta(0), refused), expires_at)


ARCHIVE_BYTES = 2048
"""What an archive of several files adds for each of them at the most: headers, and twice a name of 255 bytes."""


def allowance_bytes(sealed_sizes: list[int]) -> int:
    """How many bytes the claim may fetch in all."""
    return ALLOWANCE_FACTOR * sum(size + ARCHIVE_BYTES for size in sealed_sizes)


def end_at_window(delivered_at: datetime | None) -> ShareState:
    """How a share ends when its window closes: completed if everything was sent in one go, else lapsed."""
    return ShareState.COMPLETED if delivered_at else ShareState.LAPSED
