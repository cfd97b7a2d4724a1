"""The clock that every decision uses: it never runs backwards, and never leaps ahead on the host's word alone.

A clock set back must not bring an expired transfer to life, and one set a year ahead must not destroy everything
(design, section 5). So time is counted from an anchor, a moment whose wall-clock time was accepted, with the boot
clock, which nobody can set. The host's clock may run ahead of that by a few minutes and no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

LEAP_AHEAD = timedelta(minutes=5)
"""How far the host's clock may be ahead of the boot clock's count since the anchor."""

GAP_AT_START = timedelta(hours=24)
"""How much later than the last accepted time a host may start; a longer pause needs `caducee clock accept`."""

DATABASE_AHEAD = timedelta(seconds=60)
"""How far the host's clock may be ahead of PostgreSQL's."""

WAIT_FOR_ACCEPTANCE = timedelta(hours=24)
"""After so much running time a leap is accepted by itself: destruction must not wait for ever."""


@dataclass(frozen=True, slots=True)
class Uptime:
    """The boot clock: which boot, and seconds since then, suspended time included."""

    boot_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment whose wall-clock time was accepted, in the terms of both clocks."""

    wall: datetime
    uptime: Uptime

    def fields(self) -> dict[str, str | float]:
        """Itself as it stands in a mark of the vault."""
        return {
            "anchor_at": self.wall.isoformat(),
            "anchor_boot_id": self.uptime.boot_id,
            "anchor_boot_seconds": self.uptime.seconds,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Anchor:
        """Read it back. Raises KeyError, TypeError, ValueError."""
        uptime = Uptime(str(fields["anchor_boot_id"]), float(fields["anchor_boot_seconds"]))
        return cls(datetime.fromisoformat(fields["anchor_at"]), uptime)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The time to go by, and why the host's clock is not believed (None: it is). A new anchor where one was set."""

    now: datetime
    anchor: Anchor
    problem: str | None = None


def judge(
    *, wall: datetime, uptime: Uptime, anchor: Anchor | None, mark: datetime | None, ceiling: datetime | None = None
) -> Judgement:
    """Judge the host's clock.

    1. In the same boot as the anchor, the time is at least the anchor plus the boot clock's count, and at most
       LEAP_AHEAD more. 2. In another boot, it continues from the mark (the highest time accepted), and may be at most
       GAP_AT_START later. 3. It is never above `ceiling`, if there is one. Whatever breaks a rule is not believed:
       the time goes on from the anchor, or stands at the mark, and counts from there.
    """
    if anchor is None or anchor.uptime.boot_id != uptime.boot_id:
        start = wall if mark is None else max(wall, mark)
        if mark is not None and start - mark > GAP_AT_START:
            return Judgement(mark, Anchor(mark, uptime), f"started {start - mark} after the last accepted time")
        anchor = Anchor(start, uptime)
    counted = anchor.wall + timedelta(seconds=uptime.seconds - anchor.uptime.seconds)
    floor = counted if mark is None else max(counted, mark)
    if wall > counted + LEAP_AHEAD:  # of what was counted, not of the mark: many small leaps must not add up
        return Judgement(floor, anchor, f"{wall - counted} ahead of the boot clock")
    if ceiling is not None and wall > ceiling:
        return Judgement(floor, anchor, f"{wall - ceiling} above what the database's clock allows")
    return Judgement(max(wall, floor), anchor)


def system_time() -> datetime:
    """The host's clock, UTC, microseconds."""
    return datetime.now(UTC)


def system_uptime() -> Uptime:
    """The host's boot clock. Elsewhere than on Linux: this process's monotonic clock, which ends with it."""
    boot_id = _boot_id()
    if boot_id is None:
        return Uptime("process", time.monotonic())
    return Uptime(boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))


@cache
def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


class Clock:
    """The clock of one process. Safe to share between threads."""

    def __init__(
        self, wall: Callable[[], datetime] = system_time, uptime: Callable[[], Uptime] = system_uptime
    ) -> None:
        """Anchored at the host's time until `observe` says what was accepted before."""
        self._wall, self._uptime = wall, uptime
        self._lock = threading.Lock()
        self._mark = wall()
        self._anchor = Anchor(self._mark, uptime())
        self._ceiling: Anchor | None = None
        self._observed = False

    def now(self) -> datetime:
        """The time to go by, UTC; never before one it has answered."""
        return self.judge().now

    def judge(self, ceiling: datetime | None = None) -> Judgement:
        """The time to go by, and whether the host's clock is believed. A `ceiling` holds from now on, running with
        the boot clock, until another one is given: between two sweeps too.
        """
        with self._lock:
            uptime = self._uptime()
            if ceiling is not None:
                self._ceiling = Anchor(ceiling, uptime)
            judgement = judge(
                wall=self._wall(), uptime=uptime, anchor=self._anchor, mark=self._mark, ceiling=self._ceiling_at(uptime)
            )
            self._anchor, self._mark = judgement.anchor, max(self._mark, judgement.now)
            return judgement

    def observe(self, *, mark: datetime, anchor: Anchor | None) -> None:
        """Take over what this installation has accepted: by another process, or before a restart."""
        with self._lock:
            uptime = self._uptime()
            highest = max(self._mark, mark) if self._observed else mark
            if anchor is not None and anchor.uptime.boot_id == uptime.boot_id:
                self._anchor, self._mark = anchor, highest
            elif not self._observed:
                judgement = judge(wall=self._wall(), uptime=uptime, anchor=None, mark=mark)
                self._anchor, self._mark = judgement.anchor, judgement.now
            self._observed = True

    @property
    def has_observed(self) -> bool:
        """Whether it goes by what was accepted before; else by the host's clock alone, as it was when this began."""
        return self._observed

    def accept(self) -> Judgement:
        """Believe the host's clock as it is now: the operator says that it is right. It still never runs backwards."""
        with self._lock:
            self._anchor = Anchor(max(self._wall(), self._mark), self._uptime())
            self._mark = self._anchor.wall
            return Judgement(self._mark, self._anchor)

    def _ceiling_at(self, uptime: Uptime) -> datetime | None:
        if self._ceiling is None:
            return None
        return self._ceiling.wall + timedelta(seconds=uptime.seconds - self._ceiling.uptime.seconds)
