"""Compare database, blobs and vault, and destroy what belongs to nothing (lesson 4), in constant memory.

Three looks: blobs without a living row, keys without one, and rows whose key or bytes are gone. Listings are taken
before rows are looked up, and every row is written before its key and its blob: what is listed and has no row is an
orphan, once its grace has passed. Each look counts first: more than max(20, 1 %) of what is held is more likely a
mistake (a wrong database, a restored one) than an accident, and waits for an operator's word. Expiry never waits, and
neither do the leftovers of what has ended: their rows say so themselves.

Before the looks, all rows are held against their witnesses (`app/lifecycle/witnesses.py`), each entry of the log with
its path to the root that the vault remembers. What was found stays in the vault, for reports that cannot compare
everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import structlog

from app.db import file_rows, share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.db.transfer_rows import TransferRow
from app.domain.audit_events import Entry, Event
from app.domain.reconciled import SHOWN, ReconciliationResult
from app.domain.transfer import Ending, FileState
from app.domain.vault_entry import EntryName
from app.lifecycle import endings
from app.lifecycle.lost_rows import LostTransfers, find_lost
from app.lifecycle.rollback import require_not_rolled_back
from app.lifecycle.witnesses import Comparison, compare_everything
from app.runtime.installation import require_same_installation
from app.runtime.resources import Resources
from app.storage.blob_store import StoredBlob
from app.storage.errors import StorageError
from app.storage.vault_marks import write_reconciled

BATCH = 500
SOON = timedelta(minutes=1)
CEILING = 20
CEILING_SHARE = 0.01

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Look:
    """One of the three looks: how many were held, how many of them belong to nothing, and how many of those went.
    `certain` of the orphans belong to what has ended, and count against no ceiling.
    """

    what: str
    held: int
    orphans: int
    destroyed: int
    certain: int = 0

    @property
    def needs_word(self) -> bool:
        """Whether an operator must confirm."""
        doubtful = self.orphans - self.certain
        return self.orphans > self.destroyed and doubtful > max(CEILING, self.held * CEILING_SHARE)

    @property
    def failed(self) -> int:
        """Orphans that could not be destroyed, though nobody's word was missing."""
        return 0 if self.needs_word else self.orphans - self.destroyed


class _Batch(NamedTuple, Generic[T]):
    """So many were held; of the orphans among them, those of what has ended (`certain`), and all others."""

    held: int
    doubtful: list[T]
    certain: list[T]


def reconcile(resources: Resources, *, confirmed: bool = False) -> list[Look]:
    """Compare, look and destroy. `confirmed`: an operator says that so many orphans are right.

    Raises InstallationMismatch, StorageError or DatabaseUnavailable rather than take an absent store for an empty one,
    and DatabaseRolledBack: what a restored database does not know may belong to the one that it replaced.
    """
    require_same_installation(resources)
    require_not_rolled_back(resources)
    comparison = compare_everything(resources, verified_too=True, prove=True)
    _alert(comparison, sorted(islice(resources.vault.strangers(), SHOWN)))
    _end_hidden(resources, comparison.hidden_ends)
    _call_sweeper_for_dead_uploads(resources)
    lost = find_lost(resources, resources.clock.now())
    looks = [
        _look(resources, "blobs", partial(_orphan_blobs, lost=lost), _destroy_blobs, confirmed=confirmed),
        _look(resources, "keys", partial(_orphan_keys, lost=lost), _destroy_keys, confirmed=confirmed),
        _look(resources, "rows", _hollow_rows, _deny_rows, confirmed=confirmed),
    ]
    for look in looks:
        if look.needs_word:
            log.error("reconcile_needs_confirmation", what=look.what, orphans=look.orphans, held=look.held, alert=True)
        elif look.orphans:
            log.error("orphans", what=look.what, orphans=look.orphans, destroyed=look.destroyed, alert=True)
    left = sum(look.orphans - look.destroyed for look in looks)
    now = resources.clock.now()
    found = ReconciliationResult(now, comparison.names, left, comparison.found, comparison.shown)
    write_reconciled(resources.vault, found)
    return looks


def _alert(comparison: Comparison, strangers: list[str]) -> None:
    if strangers:
        log.error("vault_strangers", places=strangers[:5], count=len(strangers), alert=True)
    if comparison.found:
        transfers = list(dict.fromkeys(each.transfer for each in comparison.shown))
        what = sorted({each.word for each in comparison.shown})
        log.error("row_contradicts_witness", transfers=transfers[:5], count=comparison.found, what=what, alert=True)


def _end_hidden(resources: Resources, ids: list[str]) -> None:
    """End what has ended by the log, and not by rows that somebody moved."""
    for first in range(0, len(ids), BATCH):
        now, keys = resources.clock.now(), list[EntryName]()
        with resources.database.writing() as transaction:
            rows = transfer_rows.find_all(transaction.connection, ids[first : first + BATCH])
            keys += endings.deny_transfers(transaction, rows, Ending.EXPIRED, now=now, actor="scheduler")
        resources.destroy_keys(keys)


def _call_sweeper_for_dead_uploads(resources: Resources) -> None:
    """A row that says "being received" without a lease, or long after it, is no upload: the sweeper drops it now."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        ids = file_rows.transfers_of_dead_uploads(connection, now - SOON, BATCH)
    if not ids:
        return
    with resources.database.writing() as transaction:
        for transfer_id in ids:
            transfer_rows.bring_forward(transaction.connection, transfer_id, now)


def count_orphans(resources: Resources) -> list[Look]:
    """The three looks, destroying nothing. Raises as `reconcile` does, but for DatabaseRolledBack."""
    require_same_installation(resources)
    lost = find_lost(resources, resources.clock.now())
    looks = (
        _count(resources, "blobs", partial(_orphan_blobs, lost=lost)),
        _count(resources, "keys", partial(_orphan_keys, lost=lost)),
        _count(resources, "rows", _hollow_rows),
    )
    return list(looks)


def _count(resources: Resources, what: str, batches: Callable[[Resources], Iterator[_Batch[T]]]) -> Look:
    held = doubtful = certain = 0
    for batch in batches(resources):
        held, doubtful, certain = held + batch.held, doubtful + len(batch.doubtful), certain + len(batch.certain)
    return Look(what, held, doubtful + certain, 0, certain)


def _look(
    resources: Resources,
    what: str,
    batches: Callable[[Resources], Iterator[_Batch[T]]],
    destroy: Callable[[Resources, list[T]], int],
    *,
    confirmed: bool,
) -> Look:
    """Count, and if it may be, go through them again and destroy: nothing is kept in memory but one batch."""
    look = _count(resources, what, batches)
    doubtful = look.orphans - look.certain
    may = confirmed or doubtful <= max(CEILING, look.held * CEILING_SHARE)
    destroyed = 0
    if look.certain or (doubtful and may):
        for batch in batches(resources):
            orphans = [*batch.certain, *(batch.doubtful if may else ())]
            destroyed += destroy(resources, orphans) if orphans else 0
        with resources.database.writing() as transaction:
            now = resources.clock.now()
            transaction.log(
                Entry(event=Event.ORPHAN_DESTROYED, at=now, actor="scheduler", outcome=what, count=destroyed)
            )
    return replace(look, destroyed=destroyed)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


def _orphan_blobs(resources: Resources, lost: LostTransfers) -> Iterator[_Batch[StoredBlob]]:
    """Blobs that no file of an unfinished transfer names, last written before the grace time. At once, if they are
    still there: those of transfers that are verified, and those that the log gives to a transfer that ended and has no
    row, whatever row names them now.
    """
    before, hidden = resources.clock.now() - resources.settings.orphan_grace, lost.blobs_of_ended
    for batch in _batches(resources.blobs.listing()):
        with resources.database.reading() as connection:
            known = file_rows.blobs_in_use(connection, [blob.blob_id for blob in batch])
            gone = file_rows.blobs_of_verified(connection, [blob.blob_id for blob in batch])
        gone |= hidden & {blob.blob_id for blob in batch}
        back = asyncio.run(resources.blobs.present(sorted(gone))) if gone else set[str]()
        strange = [blob for blob in batch if blob.blob_id not in known | gone and blob.last_write_at < before]
        yield _Batch(len(batch), strange, [blob for blob in batch if blob.blob_id in back])


def _destroy_blobs(resources: Resources, blobs: list[StoredBlob]) -> int:
    failures = asyncio.run(resources.blobs.delete([blob.blob_id for blob in blobs]))
    return len(blobs) - len(failures)


def _orphan_keys(resources: Resources, lost: LostTransfers) -> Iterator[_Batch[EntryName]]:
    """Keys that no unfinished transfer or share names. Rows come before keys, so no grace is needed. The record of a
    claim outlives the share's keys: it goes with the transfer. Those whose row is there and has ended are certain,
    and those of transfers that have ended by the log and have no row.
    """
    for batch in _batches(resources.vault.names()):
        share_ids = {name.share_id for name in batch if name.share_id}
        with resources.database.reading() as connection:
            transfers = transfer_rows.unfinished(connection, {name.transfer_id for name in batch})
            shares = share_rows.with_keys(connection, share_ids)
            ended = transfer_rows.verified(connection, {name.transfer_id for name in batch}) | lost.ended.keys()
            ended_shares = share_rows.known(connection, share_ids) - shares
        named = [name for name in batch if not _is_living(name, transfers, shares)]
        orphans = resources.vault.held(named) if named else set[EntryName]()  # a sweep may have passed meanwhile
        certain = {name for name in orphans if name.transfer_id in ended or name.share_id in ended_shares}
        yield _Batch(len(batch), list(orphans - certain), list(certain))


def _is_living(name: EntryName, transfers: set[str], shares: set[str]) -> bool:
    """Whether an unfinished transfer, and of a share's key that share, still needs it."""
    of_share = name.share_id is not None and not name.claimed
    return name.transfer_id in transfers and (not of_share or name.share_id in shares)


def _destroy_keys(resources: Resources, names: list[EntryName]) -> int:
    try:
        resources.vault.destroy(names)
    except StorageError:
        return sum(not resources.vault.holds(name) for name in names)
    return len(names)


def _hollow_rows(resources: Resources) -> Iterator[_Batch[TransferRow]]:
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
        keyed = _keyed(resources, page)
        old = [row for row in page if row.created_at < now - resources.settings.orphan_grace]
        yield _Batch(len(page), [row for row in old if not (row.id in keyed and _is_whole(row, files, present))], [])


def _blobs_present(resources: Resources, files: list[FileRow]) -> set[str]:
    async def present() -> set[str]:
        return {file.blob_id for file in files if await resources.blobs.exists(file.blob_id)}

    return asyncio.run(present())


def _keyed(resources: Resources, rows: list[TransferRow]) -> set[str]:
    """The transfers of which the vault holds the key; where the row names none, the key is looked for by their ids: a
    row whose expiry was changed must not end anything early.
    """
    named = [EntryName(row.id, row.expires_at) for row in rows if row.expires_at.microsecond == 0]
    keyed = {name.transfer_id for name in resources.vault.held(named)}
    others = {row.id for row in rows} - keyed
    if others:
        keyed |= {name.transfer_id for name in resources.vault.find(others).names if name.share_id is None}
    return keyed


def _is_whole(row: TransferRow, files: list[FileRow], present: set[str]) -> bool:
    """Whether all bytes of a transfer are there."""
    live = [file for file in files if file.transfer_id == row.id and file.state == FileState.LIVE]
    return all(file.blob_id in present for file in live)


def _deny_rows(resources: Resources, rows: list[TransferRow]) -> int:
    """The sweeper then deletes what is left of them, and observes it."""
    now = resources.clock.now()
    keys: list[EntryName] = []
    with resources.database.writing() as transaction:
        for row in rows:
            keys += endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="scheduler")
    resources.destroy_keys(keys)
    return sum(name.share_id is None for name in keys)
