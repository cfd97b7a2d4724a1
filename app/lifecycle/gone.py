"""The one question behind everything that is attested: is this transfer gone?

It is asked by the transfer's id, never by what its rows say: no file of that id in any hour of the vault, and no blob
of any id that rows or log name. Deletion, receipts, the retention report and reconciliation all ask it here.

A listing of the whole vault is expensive where much is held (docs/performance.md). `ListingPace` is the rule for it.
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
"""After a listing, small batches wait ten times as long as it took: listings take a tenth of the time at most."""

LARGE_BATCH = 3_000
"""A batch of so many costs several times what a listing does, and never waits for one."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What is left of one transfer: entries of the vault, blobs, and whether a file in the vault is out of place."""

    names: frozenset[EntryName]
    blobs: frozenset[str]
    misplaced: bool

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self.names or self.blobs or self.misplaced)


def traces_of(resources: Resources, transfer_id: str) -> Traces:
    """Look for anything of a transfer, everywhere. Not on an event loop. Raises StorageError, DatabaseUnavailable: what
    cannot be looked for is not gone.
    """
    with resources.database.reading() as connection:
        rows = {file.blob_id for file in file_rows.of_transfers(connection, [transfer_id])}
        told = testimony_rows.told_of(connection, [transfer_id], [Event.FILE_DEPOSITED])[transfer_id]
    found = resources.vault.find({transfer_id})
    blobs = asyncio.run(resources.blobs.present(sorted(rows | told.blobs)))
    return Traces(frozenset(found.names), frozenset(blobs), bool(found.misplaced))


class ListingPace:
    """When a batch of deletions may list the whole vault before it reads "verified": at once if it is large, or once
    the time since the last listing is REST times the processor time that it took. In a small vault that is at once.
    """

    def __init__(
        self,
        *,
        rest: float = REST,
        clock: Callable[[], float] = time.monotonic,
        cost: Callable[[], float] = time.thread_time,
    ) -> None:
        """`rest` 0: always at once, for a command that sweeps once and ends. Both clocks count seconds."""
        self._rest = rest
        self._clock = clock
        self._cost = cost
        self._ended: float | None = None
        self._took = 0.0

    def allows(self, batch: int) -> bool:
        """Whether a batch of so many transfers may list now."""
        if self._ended is None or batch >= LARGE_BATCH:
            return True
        return self._clock() - self._ended >= self._rest * self._took

    def find(self, resources: Resources, transfer_ids: AbstractSet[str]) -> FoundEntries:
        """List the vault for these transfers, and measure it."""
        began = self._cost()
        found = resources.vault.find(transfer_ids)
        self._took = self._cost() - began
        self._ended = self._clock()
        return found
