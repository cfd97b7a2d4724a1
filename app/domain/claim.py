"""Claim rules: the download window, the download allowance, and the end of a claim."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.domain.share import ShareState

ALLOWANCE_FACTOR = 3
"""A claim may fetch its files at most this many times over (docs/http-api.md)."""

DELIVERED_WINDOW = timedelta(minutes=5)
"""How long the window stays open after the `content` route has sent the last byte (docs/http-api.md)."""


def window_end(now: datetime, window: timedelta, expires_at: datetime) -> datetime:
    """Return when the window closes if nothing more is fetched, at most `expires_at`."""
    return min(now + window, expires_at)


def window_with_refused(window_until: datetime, refused: timedelta, expires_at: datetime) -> datetime:
    """Return the window's end extended by the time `refused` in which the service refused all recipients, at most
    `expires_at`.
    """
    return min(window_until + max(timedelta(0), refused), expires_at)


ARCHIVE_BYTES = 2048
"""The most that an archive adds per file: headers, and a name of 255 bytes twice."""


def allowance_bytes(sealed_sizes: list[int]) -> int:
    """Return how many bytes the claim may fetch in all, given the sizes of its blobs in bytes."""
    return ALLOWANCE_FACTOR * sum(size + ARCHIVE_BYTES for size in sealed_sizes)


def end_at_window(delivered_at: datetime | None) -> ShareState:
    """Return the state of a share whose window closed: completed if one download sent everything, else lapsed."""
    return ShareState.COMPLETED if delivered_at else ShareState.LAPSED
