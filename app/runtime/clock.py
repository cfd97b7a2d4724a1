"""The clock of one process: applies the rules of time (app/domain/clock.py) to the host's clocks, thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from app.domain.clock import (
    AcceptanceReason,
    Anchor,
    BootTime,
    DatabaseTime,
    Judgement,
    RememberedTime,
    Uptime,
    attend,
    problem_of,
    start_of,
    take,
)


def system_time() -> datetime:
    """Return the host's clock in UTC."""
    return datetime.now(UTC)


def system_uptime() -> Uptime:
    """Return the host's boot clock; on systems other than Linux, the monotonic clock under the boot id `process`."""
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
    """The clock of one process. Thread-safe. It runs backwards only when an operator accepts a host clock that is
    behind.
    """

    def __init__(
        self, wall: Callable[[], datetime] = system_time, uptime: Callable[[], Uptime] = system_uptime
    ) -> None:
        """Start at the host's time, until `observe` applies the vault's record."""
        self._wall, self._uptime = wall, uptime
        self._lock = threading.Lock()
        self._start = Anchor(wall(), uptime())
        self._own = self._start
        self._boot: BootTime | None = None
        self._observed = False

    @property
    def boot_id(self) -> str:
        """Return the id of the current boot."""
        return self._start.uptime.boot_id

    @property
    def has_observed(self) -> bool:
        """Whether the start was limited by the vault's record; otherwise it is the host's time, unchecked."""
        return self._observed

    @property
    def boot_time(self) -> BootTime:
        """Return this process's record of the boot; without any, one with the process's own start as first anchor."""
        with self._lock:
            return self._boot or BootTime((self._own,))

    @property
    def waited_seconds(self) -> float:
        """How long the host's clock has been ahead and not trusted, in seconds of uptime; 0.0 if it is trusted."""
        with self._lock:
            doubt = self._boot.doubt if self._boot is not None else None
            return 0.0 if doubt is None else max(0.0, self._uptime().seconds - doubt.since)

    def observe(self, remembered: RememberedTime) -> None:
        """Apply the vault's record; the first call also limits the start of this process.

        An anchor accepted by another process since then moves this clock, in either direction. The record of an older
        vault or of another boot does not.
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
        """Return the time in force, UTC."""
        with self._lock:
            return self._now(self._uptime())

    def judge(self, database: DatabaseTime | None = None) -> Judgement:
        """Return the time in force, and whether host and database agree with it."""
        with self._lock:
            return self._judge(self._uptime(), database)

    def attend(
        self, database: DatabaseTime | None = None, *, grace: timedelta = timedelta(0)
    ) -> tuple[Judgement, BootTime, AcceptanceReason | None]:
        """Return the judgement, the record of this boot for the vault to store, and the reason if that record accepts
        the host's clock. This clock changes only when `keep` is called, after the vault has stored the record.
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
        """Return this boot's record with the host's clock as a new anchor, for `clock accept`. `keep` applies it."""
        with self._lock:
            return take(self._boot or BootTime((self._own,)), Anchor(self._wall(), self._uptime()))

    def keep(self, boot: BootTime) -> None:
        """Apply the record of this boot that the vault has stored."""
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
