"""Decide whether a transfer is gone, for deletion, receipts, the retention report and reconciliation.

The search goes by the transfer's id and does not trust the state in its rows. A transfer is gone when no hour folder
of the vault holds a file with that id, and the store holds none of the blobs that its rows or the log name.

Listing the whole vault is expensive when it holds many entries (docs/performance.md); `ListingPace` limits it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from app.db import file_rows, testimony_rows
from app.domain.audit_events import Event
from app.domain.vault_entry import EntryName
from app.runtime.resources import Resources
from app.storage.key_vault import FoundEntries

REST = 10
"""After a listing, small batches wait ten times as long as it took, so listings use at most a tenth of the time."""

LARGE_BATCH = 3_000
"""Transfers in a batch that never waits for a listing: deleting it costs several times as much as the listing."""


@dataclass(frozen=True, slots=True)
class Traces:
    """Remains of one transfer: vault entries, blobs, and whether the vault holds a misplaced file of it."""

    names: frozenset[EntryName]
    blobs: frozenset[str]
    misplaced: bool

    def __bool__(self) -> bool:
        """Return whether anything is left."""
        return bool(self.names or self.blobs or self.misplaced)


def traces_of(resources: Resources, transfer_id: str) -> Traces:
    """Return everything that is left of a transfer. Must not run on an event loop.

    Raises StorageError, DatabaseUnavailable: a failed search never counts as gone.
    """
    with resources.database.reading() as connection:
        rows = {file.blob_id for file in file_rows.of_transfers(connection, [transfer_id])}
        testimony = testimony_rows.of_transfers(connection, [transfer_id], [Event.FILE_DEPOSITED])[transfer_id]
    found = resources.vault.find({transfer_id})
    blobs = asyncio.run(resources.blobs.present(sorted(rows | testimony.blobs)))
    return Traces(frozenset(found.names), frozenset(blobs), bool(found.misplaced))


class ListingPace:
    """Decide when a batch of deletions may list the whole vault, which it must do before it reads "verified".

    A large batch may list at once; others once REST times the CPU time of the last listing has passed since it ended.
    In a small vault that is practically at once.
    """

    def __init__(
        self,
        *,
        rest: float = REST,
        clock: Callable[[], float] = time.monotonic,
        cost: Callable[[], float] = time.thread_time,
    ) -> None:
        """`rest` 0 allows every listing at once, for a command that sweeps once and exits. Clocks return seconds."""
        self._rest = rest
        self._clock = clock
        self._cost = cost
        self._ended: float | None = None
        self._took = 0.0

    def allows(self, batch: int) -> bool:
        """Return whether a batch of `batch` transfers may list now."""
        if self._ended is None or batch >= LARGE_BATCH:
            return True
        return self._clock() - self._ended >= self._rest * self._took

    def find(self, resources: Resources, transfer_ids: AbstractSet[str]) -> FoundEntries:
        """List the vault for these transfers and record the listing's CPU time."""
        began = self._cost()
        found = resources.vault.find(transfer_ids)
        self._took = self._cost() - began
        self._ended = self._clock()
        return found
