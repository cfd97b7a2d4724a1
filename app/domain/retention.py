"""Retention rules: retries, the lateness histogram, and the dead-man's switch that stops deposits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from app.domain.clock import BELIEVED

RETRY_FIRST = timedelta(seconds=1)
RETRY_CEILING = timedelta(minutes=4)
"""A failing step is retried within 5 minutes (docs/deletion.md); this leaves one minute for the sweep itself."""

FORGET_AFTER = timedelta(days=30)
"""How long a transfer keeps its recipients and label after its verified deletion (docs/deletion.md)."""


LATENESS_BUCKETS_SECONDS = (1, 2, 3, 5, 10, 60, 300, 3600)


def lateness_counts(latenesses: Iterable[timedelta]) -> dict[str, int]:
    """Return the lateness histogram's increments: cumulative buckets, the count, and the sum in milliseconds."""
    counts: Counter[str] = Counter()
    for lateness in latenesses:
        seconds = lateness.total_seconds()
        counts.update(f"lateness_le_{bound}" for bound in LATENESS_BUCKETS_SECONDS if seconds <= bound)
        counts["lateness_count"] += 1
        counts["lateness_sum_ms"] += int(seconds * 1000)
    return dict(counts)


def retry_at(now: datetime, failures: int) -> datetime:
    """Return when to retry after `failures` consecutive failures: 2 s after the first, then 4 s, 8 s, at most 4 min."""
    doublings = min(failures, 10)
    return now + min(RETRY_FIRST * (1 << doublings), RETRY_CEILING)


def deletion_is_assured(last_sweep_at: datetime | None, now: datetime, deadman: timedelta) -> bool:
    """Return whether a sweep succeeded recently enough to accept new data (G1): the dead-man's switch. A sweep more
    than BELIEVED in the future, the most that processes may differ, does not count.
    """
    return last_sweep_at is not None and -BELIEVED <= now - last_sweep_at <= deadman
