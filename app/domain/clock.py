"""The clock that every decision uses: UTC, and it never runs backwards.

A clock set back must not bring an expired transfer to life (lesson 12): the highest time ever accepted is stored by
each sweep and fed back here, so no process counts from an earlier one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime


def system_time() -> datetime:
    """The host's clock, UTC, microseconds."""
    return datetime.now(UTC)


class Clock:
    """Time that does not run backwards. Safe to share between threads."""

    def __init__(self, source: Callable[[], datetime] = system_time) -> None:
        """Start at the source's time; `observe` raises the mark to what was stored."""
        self._source = source
        self._mark = source()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The source's time, or the highest one seen if the source went back."""
        with self._lock:
            self._mark = max(self._mark, self._source())
            return self._mark

    def observe(self, mark: datetime | None) -> None:
        """Take note of a time accepted elsewhere (by another process, or before a restart)."""
        if mark is not None:
            with self._lock:
                self._mark = max(self._mark, mark)
