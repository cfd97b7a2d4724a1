"""Compare database, blobs and vault, and destroy orphans (lesson 4), in constant memory.

Three passes find blobs without a live row, keys without a live row, and rows whose key or bytes are gone. Stores are
listed before rows are read, and every row is written before its key and blob, so a listed item without a row is an
orphan once its grace time has passed. Each pass counts first: more than max(20, 1 %) orphans indicate a mistake (a
wrong or restored database) and require an operator's confirmation. Expiry never waits, nor do the remains of ended
transfers.

Before the passes, all rows are compared with the log and the vault (`app/lifecycle/witnesses.py`), and each log entry
is verified up to the root in the vault's mark. The result is stored in the vault, for reports that cannot compare
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
class PassResult:
    """Result of one pass: numbers of items held, of orphans among them, and of orphans destroyed. `certain` orphans
    belong to ended transfers or shares and do not count towards the ceiling.
    """

    what: str
    held: int
    orphans: int
    destroyed: int
    certain: int = 0

    @property
    def needs_confirmation(self) -> bool:
        """Whether an operator must confirm."""
        doubtful = self.orphans - self.certain
        return self.orphans > self.destroyed and doubtful > max(CEILING, self.held * CEILING_SHARE)

    @property
    def failed(self) -> int:
        """Orphans that could not be destroyed, although no confirmation was required."""
        return 0 if self.needs_confirmation else self.orphans - self.destroyed


class _Batch(NamedTuple, Generic[T]):
    """Number of items held, and the orphans among them: `certain` ones of ended transfers or shares, and all others."""

    held: int
    doubtful: list[T]
    certain: list[T]


def reconcile(resources: Resources, *, confirmed: bool = False) -> list[PassResult]:
    """Compare, count and destroy. `confirmed`: an operator has confirmed that the number of orphans is right.

    Raises InstallationMismatch, StorageError or DatabaseUnavailable rather than treat a missing store as empty, and
    DatabaseRolledBack: items without a row in a restored database may belong to the one it replaced.
    """
    require_same_installation(resources)
    require_not_rolled_back(resources)
    comparison = compare_everything(resources, verified_too=True, prove=True)
    _alert(comparison, sorted(islice(resources.vault.strangers(), SHOWN)))
    _end_hidden(resources, comparison.hidden_ends)
    _call_sweeper_for_dead_uploads(resources)
    lost = find_lost(resources, resources.clock.now())
    results = [
        _run_pass(resources, "blobs", partial(_orphan_blobs, lost=lost), _destroy_blobs, confirmed=confirmed),
        _run_pass(resources, "keys", partial(_orphan_keys, lost=lost), _destroy_keys, confirmed=confirmed),
        _run_pass(resources, "rows", _hollow_rows, _deny_rows, confirmed=confirmed),
    ]
    for result in results:
        if result.needs_confirmation:
            log.error(
                "reconcile_needs_confirmation", what=result.what, orphans=result.orphans, held=result.held, alert=True
            )
        elif result.orphans:
            log.error("orphans", what=result.what, orphans=result.orphans, destroyed=result.destroyed, alert=True)
    left = sum(result.orphans - result.destroyed for result in results)
    now = resources.clock.now()
    found = ReconciliationResult(now, comparison.names, left, comparison.found, comparison.shown)
    write_reconciled(resources.vault, found)
    return results


def _alert(comparison: Comparison, strangers: list[str]) -> None:
    if strangers:
        log.error("vault_strangers", places=strangers[:5], count=len(strangers), alert=True)
    if comparison.found:
        transfers = list(dict.fromkeys(each.transfer for each in comparison.shown))
        what = sorted({each.word for each in comparison.shown})
        log.error("row_contradicts_witness", transfers=transfers[:5], count=comparison.found, what=what, alert=True)


def _end_hidden(resources: Resources, ids: list[str]) -> None:
    """End transfers that have ended according to the log but not their altered rows."""
    for first in range(0, len(ids), BATCH):
        now, keys = resources.clock.now(), list[EntryName]()
        with resources.database.writing() as transaction:
            rows = transfer_rows.find_all(transaction.connection, ids[first : first + BATCH])
            keys += endings.deny_transfers(transaction, rows, Ending.EXPIRED, now=now, actor="scheduler")
        resources.destroy_keys(keys)


def _call_sweeper_for_dead_uploads(resources: Resources) -> None:
    """Make rows of files being received without a lease, or long after it expired, due now; the sweeper drops them."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        ids = file_rows.transfers_of_dead_uploads(connection, now - SOON, BATCH)
    if not ids:
        return
    with resources.database.writing() as transaction:
        for transfer_id in ids:
            transfer_rows.bring_forward(transaction.connection, transfer_id, now)


def count_orphans(resources: Resources) -> list[PassResult]:
    """Count orphans in the three passes without destroying any. Raises the errors of `reconcile`, except
    DatabaseRolledBack.
    """
    require_same_installation(resources)
    lost = find_lost(resources, resources.clock.now())
    results = (
        _count(resources, "blobs", partial(_orphan_blobs, lost=lost)),
        _count(resources, "keys", partial(_orphan_keys, lost=lost)),
        _count(resources, "rows", _hollow_rows),
    )
    return list(results)


def _count(resources: Resources, what: str, batches: Callable[[Resources], Iterator[_Batch[T]]]) -> PassResult:
    held = doubtful = certain = 0
    for batch in batches(resources):
        held, doubtful, certain = held + batch.held, doubtful + len(batch.doubtful), certain + len(batch.certain)
    return PassResult(what, held, doubtful + certain, 0, certain)


def _run_pass(
    resources: Resources,
    what: str,
    batches: Callable[[Resources], Iterator[_Batch[T]]],
    destroy: Callable[[Resources, list[T]], int],
    *,
    confirmed: bool,
) -> PassResult:
    """Count the orphans and, if allowed, destroy them in a second pass; only one batch is kept in memory."""
    result = _count(resources, what, batches)
    doubtful = result.orphans - result.certain
    may = confirmed or doubtful <= max(CEILING, result.held * CEILING_SHARE)
    destroyed = 0
    if result.certain or (doubtful and may):
        for batch in batches(resources):
            orphans = [*batch.certain, *(batch.doubtful if may else ())]
            destroyed += destroy(resources, orphans) if orphans else 0
        with resources.database.writing() as transaction:
            now = resources.clock.now()
            transaction.log(
                Entry(event=Event.ORPHAN_DESTROYED, at=now, actor="scheduler", outcome=what, count=destroyed)
            )
    return replace(result, destroyed=destroyed)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


def _orphan_blobs(resources: Resources, lost: LostTransfers) -> Iterator[_Batch[StoredBlob]]:
    """Yield blobs that no file of an unfinished transfer names, last written before the grace time. No grace applies to
    existing blobs of verified transfers, or to those that the log assigns to an ended transfer without a row, whatever
    row names them now.
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
    """Yield keys that no unfinished transfer or share names. Rows are written before keys, so no grace is needed. A
    claim record outlives the share's keys and is destroyed with the transfer. Keys are certain orphans if their row has
    ended, or if they have no row and the log records the end of their transfer.
    """
    for batch in _batches(resources.vault.names()):
        share_ids = {name.share_id for name in batch if name.share_id}
        with resources.database.reading() as connection:
            transfers = transfer_rows.unfinished(connection, {name.transfer_id for name in batch})
            shares = share_rows.with_keys(connection, share_ids)
            ended = transfer_rows.verified(connection, {name.transfer_id for name in batch}) | lost.ended.keys()
            ended_shares = share_rows.known(connection, share_ids) - shares
        named = [name for name in batch if not _is_living(name, transfers, shares)]
        orphans = resources.vault.held(named) if named else set[EntryName]()  # a concurrent sweep may have removed some
        certain = {name for name in orphans if name.transfer_id in ended or name.share_id in ended_shares}
        yield _Batch(len(batch), list(orphans - certain), list(certain))


def _is_living(name: EntryName, transfers: set[str], shares: set[str]) -> bool:
    """Return whether an unfinished transfer still needs the entry and, for a share's key, that share does too."""
    of_share = name.share_id is not None and not name.claimed
    return name.transfer_id in transfers and (not of_share or name.share_id in shares)


def _destroy_keys(resources: Resources, names: list[EntryName]) -> int:
    try:
        resources.vault.destroy(names)
    except StorageError:
        return sum(not resources.vault.holds(name) for name in names)
    return len(names)


def _hollow_rows(resources: Resources) -> Iterator[_Batch[TransferRow]]:
    """Yield open transfers, older than the grace time, whose key or bytes are gone, so that they can never be fetched.
    Transfers about to expire are left out: the purge may remove their keys before this reads them.
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
    """Return the ids of transfers whose key the vault holds. If there is none under the row's expiry, search by
    transfer id: an altered expiry must not end a transfer early.
    """
    named = [EntryName(row.id, row.expires_at) for row in rows if row.expires_at.microsecond == 0]
    keyed = {name.transfer_id for name in resources.vault.held(named)}
    others = {row.id for row in rows} - keyed
    if others:
        keyed |= {name.transfer_id for name in resources.vault.find(others).names if name.share_id is None}
    return keyed


def _is_whole(row: TransferRow, files: list[FileRow], present: set[str]) -> bool:
    """Return whether all blobs of a transfer's live files exist."""
    live = [file for file in files if file.transfer_id == row.id and file.state == FileState.LIVE]
    return all(file.blob_id in present for file in live)


def _deny_rows(resources: Resources, rows: list[TransferRow]) -> int:
    """End these transfers and destroy their keys; return how many ended. The sweeper deletes and verifies the rest."""
    now = resources.clock.now()
    keys: list[EntryName] = []
    with resources.database.writing() as transaction:
        for row in rows:
            keys += endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="scheduler")
    resources.destroy_keys(keys)
    return sum(name.share_id is None for name in keys)
