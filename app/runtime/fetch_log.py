"""Log downloads by claim and file: the first at once, repeated ones at most once a minute with their counts.

A client may fetch a file in thousands of ranges, and one entry for each would fill the log. Counts are kept in memory:
a killed process loses those of its last minute, but not the bytes counted in the claim's row.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.audit_events import Entry, Event

LOGGED_EVERY = timedelta(minutes=1)
ADDRESSES_AT_ONCE = 10
"""A change of address is logged at once, but no more often than this in a minute."""


@dataclass(slots=True)
class Fetched:
    """A download that has ended, or several of them. `size` counts the bytes handed to the socket, `acknowledged` those
    that the client's kernel acknowledged. `file` is None for an archive. `cut` counts downloads that were cut.
    """

    transfer: str
    share: str
    claim: str
    file: int | None
    files: int
    address: str
    size: int
    acknowledged: int
    cut: int
    downloads: int = 1

    def add(self, other: Fetched) -> None:
        """Add a later download of the same claim and file."""
        self.size += other.size
        self.acknowledged += other.acknowledged
        self.cut += other.cut
        self.downloads += other.downloads
        self.address = other.address

    def entry(self, at: datetime) -> Entry:
        """Return the log entry. `count` and `cut` are left out of that of a single download."""
        return Entry(
            event=Event.FILE_FETCHED,
            at=at,
            actor="recipient",
            transfer=self.transfer,
            share=self.share,
            claim=self.claim,
            file=self.file,
            files=self.files,
            size=self.size,
            acknowledged=self.acknowledged,
            address=self.address,
            outcome="cut" if self.cut == self.downloads else "sent",
            count=self.downloads if self.downloads > 1 else None,
            cut=self.cut if self.downloads > 1 else None,
        )


@dataclass(slots=True)
class _Group:
    logged_at: datetime
    address: str
    addresses: int = 0
    waiting: Fetched | None = None


class FetchLog:
    """The downloads that this process has not logged yet. Thread-safe."""

    def __init__(self) -> None:
        """Start without downloads."""
        self._groups: dict[tuple[str, int | None], _Group] = {}
        self._lock = threading.Lock()

    @property
    def groups(self) -> int:
        """How many claims and files were downloaded lately."""
        return len(self._groups)

    def add(self, fetched: Fetched, now: datetime) -> list[Entry]:
        """Return the entries to be logged now, with the caller's transaction; none while the download may wait."""
        key = (fetched.claim, fetched.file)
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                self._groups[key] = _Group(now, fetched.address)
                return [fetched.entry(now)]
            if fetched.address != group.address and group.addresses < ADDRESSES_AT_ONCE:
                entries = [] if group.waiting is None else [group.waiting.entry(now)]
                group.waiting, group.address = None, fetched.address
                group.addresses += 1
                return [*entries, fetched.entry(now)]
            if group.waiting is None:
                group.waiting = fetched
            else:
                group.waiting.add(fetched)
            return self._due(group, now)

    def take(self, now: datetime, *, all_of_them: bool = False) -> list[Entry]:
        """Return the entries of downloads that have waited for a minute, or of all, and forget groups without any."""
        with self._lock:
            entries: list[Entry] = []
            for key, group in list(self._groups.items()):
                over = now - group.logged_at >= LOGGED_EVERY
                if group.waiting is None and (over or all_of_them):
                    del self._groups[key]
                elif group.waiting is not None and all_of_them:
                    entries.append(group.waiting.entry(now))
                    group.waiting = None
                else:
                    entries += self._due(group, now)
            return entries

    def _due(self, group: _Group, now: datetime) -> list[Entry]:
        if group.waiting is None or now - group.logged_at < LOGGED_EVERY:
            return []
        entry = group.waiting.entry(now)
        group.waiting, group.logged_at, group.addresses = None, now, 0
        return [entry]
