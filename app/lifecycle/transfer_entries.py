"""Read the log entries of given transfers in pages, each in a short transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from app.db import audit_queries
from app.db.audit_rows import StoredEntry
from app.runtime.resources import Resources

PAGE = 1_000
BATCH = 250


class LogUnreadable(Exception):
    """An entry is not one that the service writes: the log was altered. `entry`: its number."""

    def __init__(self, entry: int) -> None:
        """The message names the entry."""
        super().__init__(f"entry {entry} of the log cannot be read: run `caducee audit verify`")
        self.entry = entry


def entries_of(resources: Resources, transfers: list[str], size: int) -> Iterator[StoredEntry]:
    """Yield the entries of these transfers, at most BATCH, in order, of the first `size` entries of the log."""
    after = -1
    while True:
        with resources.database.reading() as connection:
            page = audit_queries.stories(connection, transfers, after, size, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].sequence


def batches(transfers: Iterable[str]) -> Iterator[list[str]]:
    """Yield the transfers in batches for `entries_of`."""
    source = iter(transfers)
    while batch := list(islice(source, BATCH)):
        yield batch


@contextmanager
def interpreting(entry: StoredEntry) -> Iterator[None]:
    """Raise LogUnreadable, which names the entry, if its fields are not those that its event has."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LogUnreadable(entry.sequence) from error
