"""Read log entries, oldest first: all, those that match a filter, or new ones as they are written."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from app.crypto.token import is_id
from app.db import audit_queries, audit_size
from app.db.audit_queries import EntryFilter
from app.db.audit_rows import StoredEntry
from app.domain.audit_events import Event
from app.domain.errors import InvalidRequest
from app.domain.period import parse_moment
from app.runtime.resources import Resources

PAGE = 2_000
"""Entries read per transaction."""

PAGES_OF_AN_ANSWER = 25
"""A response ends after this many pages, even if it holds fewer entries than requested."""

POLL_SECONDS = 0.5

_ACTOR = re.compile(r"[a-z]+(:[A-Za-z0-9_-]+)?")
EVERYTHING = EntryFilter()


def entry_filter(
    *,
    event: str | None = None,
    transfer: str | None = None,
    share: str | None = None,
    actor: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> EntryFilter:
    """Parse a filter; a date as `until` includes that whole day. Raises InvalidRequest, InvalidTime."""
    if event is not None and event not in set(Event):
        raise InvalidRequest("event: not one of the events of the log.")
    for name, value in (("transfer", transfer), ("share", share)):
        if value is not None and not is_id(value):
            raise InvalidRequest(f"{name}: not an id.")
    if actor is not None and not _ACTOR.fullmatch(actor):
        raise InvalidRequest("actor: recipient, operator, scheduler, system or token:<id>.")
    return EntryFilter(
        event=None if event is None else Event(event),
        transfer=transfer,
        share=share,
        actor=actor,
        since=None if since is None else parse_moment(since),
        until=None if until is None else parse_moment(until, whole_day=True),
    )


def read_log(
    resources: Resources, wanted: EntryFilter = EVERYTHING, *, last: int | None = None
) -> Iterator[StoredEntry]:
    """Yield the matching entries in order; with `last`, only the last ones, at most that many. Entries are read in
    pages, in short transactions; at most one page, or `last` entries, are in memory.
    """
    start, stop = _bounds(resources, wanted)
    if last is None:
        for first in range(start, stop, PAGE):
            yield from _span(resources, wanted, first, min(first + PAGE, stop))
        return
    found: deque[StoredEntry] = deque()
    while stop > start and len(found) < last:
        first = max(start, stop - PAGE)
        found.extendleft(reversed(_span(resources, wanted, first, stop)))
        stop = first
    yield from list(found)[max(0, len(found) - last) :]


def follow_log(resources: Resources, wanted: EntryFilter = EVERYTHING, *, last: int = 10) -> Iterator[StoredEntry]:
    """Yield the `last` matching entries, then each new one as it is written. Never returns."""
    with resources.database.reading() as connection:
        seen = audit_size.size(connection)
    yield from (entry for entry in read_log(resources, wanted, last=last) if entry.sequence < seen)
    while True:
        with resources.database.reading() as connection:
            size = audit_size.size(connection)
        for first in range(seen, size, PAGE):
            yield from _span(resources, wanted, first, min(first + PAGE, size))
        seen = max(seen, size)
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of entries, and the sequence number at which the next page starts; None if it was the last page."""

    entries: list[StoredEntry]
    following: int | None


def page_of_log(resources: Resources, wanted: EntryFilter, *, start: int = 0, limit: int) -> LogPage:
    """Return up to `limit` matching entries from sequence number `start` on. Only a bounded part of the log is read, so
    a page may have fewer entries, even none, although another page follows.
    """
    first, stop = _bounds(resources, wanted)
    first, found = max(first, start), list[StoredEntry]()
    for _ in range(PAGES_OF_AN_ANSWER):
        if first >= stop:
            return LogPage(found, None)
        upto = min(first + PAGE, stop)
        found += _span(resources, wanted, first, upto)
        if len(found) > limit:
            return LogPage(found[:limit], found[limit].sequence)
        first = upto
    return LogPage(found, first if first < stop else None)


def page_of_log_backwards(
    resources: Resources, wanted: EntryFilter, *, start: int | None = None, limit: int
) -> LogPage:
    """Return up to `limit` matching entries, newest first, from sequence number `start` down, or else from the end. As
    in `page_of_log`, only a bounded part of the log is read.
    """
    first, stop = _bounds(resources, wanted)
    stop, found = stop if start is None else min(stop, start + 1), list[StoredEntry]()
    for _ in range(PAGES_OF_AN_ANSWER):
        if first >= stop:
            return LogPage(found, None)
        down_to = max(first, stop - PAGE)
        found += reversed(_span(resources, wanted, down_to, stop))
        if len(found) > limit:
            return LogPage(found[:limit], found[limit].sequence)
        stop = down_to
    return LogPage(found, stop - 1 if first < stop else None)


def _bounds(resources: Resources, wanted: EntryFilter) -> tuple[int, int]:
    with resources.database.reading() as connection:
        return audit_queries.bounds(connection, wanted, audit_size.size(connection))


def _span(resources: Resources, wanted: EntryFilter, start: int, stop: int) -> list[StoredEntry]:
    with resources.database.reading() as connection:
        return audit_queries.span(connection, wanted, start, stop)
