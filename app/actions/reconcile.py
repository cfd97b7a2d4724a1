"""Compare database, blobs and vault, and destroy what belongs to nothing (lesson 4), in constant memory.

Three looks: blobs without a living row, keys without one, and rows whose key or bytes are gone. Listings are taken
before rows are looked up, and every row is written before its key and its blob: what is listed and has no row is an
orphan, once its grace has passed. Each look counts first: more than max(20, 1 %) of what is held is more likely a
mistake (a wrong database, a restored one) than an accident, and waits for an operator's word. Expiry never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TypeVar

import structlog

from app.db import endings, file_rows, share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.db.transfer_rows import TransferRow
from app.domain.audit_events import Entry, Event
from app.domain.transfer import Ending, FileState
from app.domain.vault_entry import EntryName
from app.high_water import require_not_rolled_back
from app.resources import Resources, require_same_installation
from app.storage.blob_store import StoredBlob
from app.storage.errors import StorageError

BATCH = 500
SOON = timedelta(minutes=1)
CEILING = 20
CEILING_SHARE = 0.01

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Look:
    """One of the three looks: how many were held, how many of them belong to nothing, and how many of those went."""

    what: str
    held: int
    orphans: int
    destroyed: int

    @property
    def needs_word(self) -> bool:
        """Whether an operator must confirm."""
        return self.orphans > self.destroyed and self.orphans > max(CEILING, self.held * CEILING_SHARE)

    @property
    def failed(self) -> int:
        """Orphans that could not be destroyed, though nobody's word was missing."""
        return 0 if self.needs_word else self.orphans - self.destroyed


def reconcile(resources: Resources, *, confirmed: bool = False) -> list[Look]:
    """Look and destroy. `confirmed`: an operator says that so many orphans are right.

    Raises InstallationMismatch, StorageError or DatabaseUnavailable rather than take an absent store for an empty one,
    and DatabaseRolledBack: what a restored database does not know may belong to the one that it replaced.
    """
    require_same_installation(resources)
    require_not_rolled_back(resources)
    looks = [
        _look(resources, "blobs", _orphan_blobs, _destroy_blobs, confirmed=confirmed),
        _look(resources, "keys", _orphan_keys, _destroy_keys, confirmed=confirmed),
        _look(resources, "rows", _hollow_rows, _deny_rows, confirmed=confirmed),
    ]
    for look in looks:
        if look.needs_word:
            log.error("reconcile_needs_confirmation", what=look.what, orphans=look.orphans, held=look.held, alert=True)
        elif look.orphans:
            log.error("orphans", what=look.what, orphans=look.orphans, destroyed=look.destroyed, alert=True)
    return looks


def count_orphans(resources: Resources) -> list[Look]:
    """The three looks, destroying nothing. Raises as `reconcile` does, but for DatabaseRolledBack."""
    require_same_installation(resources)
    looks = (("blobs", _orphan_blobs), ("keys", _orphan_keys), ("rows", _hollow_rows))
    return [Look(what, *_count(resources, batches), destroyed=0) for what, batches in looks]


def _count(
    resources: Resources, batches: Callable[[Resources], Iterator[tuple[int, Sequence[object]]]]
) -> tuple[int, int]:
    held = orphans = 0
    for count, found in batches(resources):
        held, orphans = held + count, orphans + len(found)
    return held, orphans


def _look(
    resources: Resources,
    what: str,
    batches: Callable[[Resources], Iterator[tuple[int, list[T]]]],
    destroy: Callable[[Resources, list[T]], int],
    *,
    confirmed: bool,
) -> Look:
    """Count, and if it may be, go through them again and destroy: nothing is kept in memory but one batch."""
    held, orphans = _count(resources, batches)
    destroyed = 0
    if orphans and (confirmed or orphans <= max(CEILING, held * CEILING_SHARE)):
        for _, found in batches(resources):
            destroyed += destroy(resources, found) if found else 0
        with resources.database.writing() as transaction:
            now = resources.clock.now()
            transaction.log(
                Entry(event=Event.ORPHAN_DESTROYED, at=now, actor="scheduler", outcome=what, count=destroyed)
            )
    return Look(what, held, orphans, destroyed)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


def _orphan_blobs(resources: Resources) -> Iterator[tuple[int, list[StoredBlob]]]:
    """Blobs that no file of an unfinished transfer names, last written before the grace time."""
    before = resources.clock.now() - resources.settings.orphan_grace
    for batch in _batches(resources.blobs.listing()):
        with resources.database.reading() as connection:
            known = file_rows.blobs_in_use(connection, [blob.blob_id for blob in batch])
        yield len(batch), [b for b in batch if b.blob_id not in known and b.last_write_at < before]


def _destroy_blobs(resources: Resources, blobs: list[StoredBlob]) -> int:
    failures = asyncio.run(resources.blobs.delete([blob.blob_id for blob in blobs]))
    return len(blobs) - len(failures)


def _orphan_keys(resources: Resources) -> Iterator[tuple[int, list[EntryName]]]:
    """Keys that no unfinished transfer or share names. Rows come before keys, so no grace is needed. The record of a
    claim outlives the share's keys: it goes with the transfer.
    """
    for batch in _batches(resources.vault.names()):
        with resources.database.reading() as connection:
            transfers = transfer_rows.unfinished(connection, {name.transfer_id for name in batch})
            shares = share_rows.with_keys(connection, {name.share_id for name in batch if name.share_id})
        yield (
            len(batch),
            [
                name
                for name in batch
                if name.transfer_id not in transfers
                or (name.share_id and not name.claimed and name.share_id not in shares)
            ],
        )


def _destroy_keys(resources: Resources, names: list[EntryName]) -> int:
    try:
        resources.vault.destroy(names)
    except StorageError:
        return sum(not resources.vault.holds(name) for name in names)
    return len(names)


def _hollow_rows(resources: Resources) -> Iterator[tuple[int, list[TransferRow]]]:
    """Open transfers, older than the grace time, whose key or bytes are gone: nobody can ever fetch them. Not those
    about to expire: the purge may be quicker than the look.
    """
    after = ""
    while True:
        now = resources.clock.now()
        with resources.database.reading() as connection:
            page = transfer_rows.open_page(connection, after, now + SOON, BATCH)
            files = file_rows.of_transfers(connection, [row.id for row in page])
        if not page:
            return
        after = page[-1].id
        present = _blobs_present(resources, files)
        old = [row for row in page if row.created_at < now - resources.settings.orphan_grace]
        yield len(page), [row for row in old if not _is_whole(resources, row, files, present)]


def _blobs_present(resources: Resources, files: list[FileRow]) -> set[str]:
    async def present() -> set[str]:
        return {file.blob_id for file in files if await resources.blobs.exists(file.blob_id)}

    return asyncio.run(present())


def _is_whole(resources: Resources, row: TransferRow, files: list[FileRow], present: set[str]) -> bool:
    live = [file for file in files if file.transfer_id == row.id and file.state == FileState.LIVE]
    keyed = resources.vault.holds(EntryName(row.id, row.expires_at))
    return keyed and all(file.blob_id in present for file in live)


def _deny_rows(resources: Resources, rows: list[TransferRow]) -> int:
    """The sweeper then deletes what is left of them, and observes it."""
    now = resources.clock.now()
    keys: list[EntryName] = []
    with resources.database.writing() as transaction:
        for row in rows:
            keys += endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="scheduler")
    resources.destroy_keys(keys)
    return sum(name.share_id is None for name in keys)
