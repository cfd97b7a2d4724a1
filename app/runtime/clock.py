"""The clock of one process: the rule of time (app/domain/clock.py) with the host's clocks and a lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from app.domain.clock import (
    Anchor,
    BootTime,
    DatabaseTime,
    Judgement,
    RememberedTime,
    Taking,
    Uptime,
    attend,
    problem_of,
    start_of,
    take,
)


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
    """The clock of one process. Safe to share between threads. It runs backwards only when an operator accepts a
    host's clock that is behind.
    """

    def __init__(
        self, wall: Callable[[], datetime] = system_time, uptime: Callable[[], Uptime] = system_uptime
    ) -> None:
        """Begin at the host's time, until `observe` says what the vault remembers."""
        self._wall, self._uptime = wall, uptime
        self._lock = threading.Lock()
        self._start = Anchor(wall(), uptime())
        self._own = self._start
        self._boot: BootTime | None = None
        self._observed = False

    @property
    def boot_id(self) -> str:
        """Return the boot that this process runs in."""
        return self._start.uptime.boot_id

    @property
    def has_observed(self) -> bool:
        """Whether the start is bounded by what the vault remembers; else it is the host's word alone."""
        return self._observed

    @property
    def boot_time(self) -> BootTime:
        """Return the time of this boot as this process has it; a first anchor is where it began itself."""
        with self._lock:
            return self._boot or BootTime((self._own,))

    @property
    def waited_seconds(self) -> float:
        """For how many seconds of running the host's clock has been ahead and not believed; 0.0 while it is not."""
        with self._lock:
            doubt = self._boot.doubt if self._boot is not None else None
            return 0.0 if doubt is None else max(0.0, self._uptime().seconds - doubt.since)

    def observe(self, remembered: RememberedTime) -> None:
        """Take over what the vault remembers; at the first time, it bounds where this process began.

        An anchor that another process took since moves the own count, in either direction. An older vault does not,
        nor does what it remembers of another boot.
        """
        with self._lock:
            boot = remembered.boot
            if boot is not None and boot.boot_id != self._start.uptime.boot_id:
                boot = None
            if not self._observed:
                self._own = start_of(self._start, RememberedTime(remembered.mark, boot))
                self._observed = True
                self._boot = boot
            elif boot is not None and (self._boot is None or boot.taken > self._boot.taken):
                if boot.taken:
                    self._own = boot.anchor
                self._boot = boot

    def now(self) -> datetime:
        """The time to go by, UTC."""
        with self._lock:
            return self._now(self._uptime())

    def judge(self, database: DatabaseTime | None = None) -> Judgement:
        """The time to go by, and whether host and database agree with it."""
        with self._lock:
            return self._judge(self._uptime(), database)

    def attend(
        self, database: DatabaseTime | None = None, *, grace: timedelta = timedelta(0)
    ) -> tuple[Judgement, BootTime, Taking | None]:
        """Judge, and return with it what the vault should keep of this boot now, and whether that took the host's
        clock. Nothing changes here until `keep` is told that the vault has it.
        """
        with self._lock:
            uptime = self._uptime()
            judgement = self._judge(uptime, database)
            boot, taking = attend(self._boot or BootTime((self._own,)), judgement, uptime, grace=grace)
            if taking is not None:
                host = Anchor(judgement.now + judgement.lead, uptime)
                boot = take(boot, host, pause=judgement.lead if taking == "pause" else None)
            return judgement, boot, taking

    def accepted(self) -> BootTime:
        """Return the time of this boot for an operator who says that the host's clock is right. See `keep`."""
        with self._lock:
            return take(self._boot or BootTime((self._own,)), Anchor(self._wall(), self._uptime()))

    def keep(self, boot: BootTime) -> None:
        """Go by what the vault keeps of this boot from now on."""
        with self._lock:
            if boot.taken > (self._boot.taken if self._boot is not None else 0):
                self._own = boot.anchor
            self._boot = boot

    def _now(self, uptime: Uptime) -> datetime:
        own = self._own.count(uptime)
        return own if self._boot is None else max(own, self._boot.anchor.count(uptime))

    def _judge(self, uptime: Uptime, database: DatabaseTime | None) -> Judgement:
        now, host = self._now(uptime), self._wall()
        counts = self._boot.anchors if self._boot is not None else (self._own,)
        return Judgement(now, host - now, problem_of(now, host=host, counts=counts, database=database))
