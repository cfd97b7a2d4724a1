"""Steps 7 and 8 of a file's life, for a batch of due transfers: end them, then delete them, verifying each step.

Each transfer of a batch advances as far as it can:

    live -> denied -> keys_destroyed -> bytes_deleted -> verified

A step counts once its effect was observed: the vault no longer holds the keys, SQLite has truncated its WAL, the blob
store no longer holds the bytes. A failed transfer is recorded and retried within 5 minutes; it never delays the others,
and never reads "deleted" before it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.db import file_rows, service_rows, share_rows, transfer_rows, whole_transfers
from app.db.engine import Transaction
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.db.whole_transfers import WholeTransfer
from app.domain.audit_events import Entry, Event
from app.domain.claim import end_at_window
from app.domain.retention import lateness_counts
from app.domain.share import ShareState
from app.domain.transfer import OPEN_STATES, Ending, FileState, TransferState
from app.lifecycle import endings
from app.lifecycle.contradictions import judge_facts
from app.lifecycle.deletion_case import Case, load
from app.lifecycle.deletion_retry import give_up, settle
from app.lifecycle.refused_time import without_unrecorded
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.storage.errors import BlobBusy

TAKEN_FOR = timedelta(seconds=20)
"""Lease of a sweeper on its batch. If the sweeper dies, another takes the batch once the lease has expired."""

LARGEST = 2**53 - 1
"""Largest integer a log entry can hold. A tampered size in the database must not make a deletion fail."""

log = structlog.get_logger()


@dataclass(slots=True)
class Done:
    """Numbers of transfers in a batch that were ended, were deleted, and failed (those are retried)."""

    ended: int = 0
    deleted: int = 0
    failed: int = 0

    def add(self, other: Done) -> None:
        """Add the counts of `other` to these."""
        self.ended += other.ended
        self.deleted += other.deleted
        self.failed += other.failed


async def delete_batch(resources: Resources, batch: list[str], watch: VaultWatch) -> Done:
    """Advance these transfers. If the batch fails, retry each half separately, down to single transfers, so that one
    failure does not delay the others. Rows are read here, so that a transfer with damaged rows also fails alone.
    """
    done = Done()
    try:
        await _advance(resources, batch, watch, done)
    except Exception as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                done.add(await delete_batch(resources, half, watch))
            return done
        log.exception("sweep_failed", transfer=batch[0], alert=True)
        await resources.in_thread(give_up, resources, batch[0], type(error).__name__)
        done.failed += 1
    return done


async def _advance(resources: Resources, batch: list[str], watch: VaultWatch, done: Done) -> None:
    """The steps, in order."""
    reach("deletion.taken")
    done.ended += await resources.in_thread(_end_what_is_due, resources, batch, watch)
    reach("deletion.ended")
    cases = await resources.in_thread(load, resources, batch)
    await resources.in_thread(_compare, resources, cases, watch)
    await _drop_abandoned_uploads(resources, cases)
    advancing = _set_aside(cases, watch)
    reach("deletion.loaded")
    await resources.in_thread(_destroy_keys, resources, advancing)
    done.deleted += await _delete_bytes(resources, advancing, watch)
    done.failed += await resources.in_thread(settle, resources, cases)
    reach("deletion.settled")


def _set_aside(cases: list[Case], watch: VaultWatch) -> list[Case]:
    """Return the cases to advance. While the vault may not be listed, cases that only need a listing wait."""
    listed_last = [case for case in cases if case.state == TransferState.BYTES_DELETED]
    if not listed_last or watch.pace.allows(len(cases)):
        return cases
    for case in listed_last:
        case.waiting = True
    return [case for case in cases if not case.waiting]


def _end_what_is_due(resources: Resources, batch: list[str], watch: VaultWatch) -> int:
    """Deny transfers past their expiry in their row or in the vault, and end claims whose window has closed, unless the
    service itself is refusing recipients. Return how many transfers ended, without those that a concurrent request
    ended.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        still_open = [one for one in transfer_rows.expiries(connection, batch) if one.state in OPEN_STATES]
        expired = [one for one in still_open if now >= min(one.expires_at, watch.end_of(one.id) or one.expires_at)]
        over = {one.id for one in expired}
        living = [one.id for one in still_open if one.id not in over]
        lapsing = living if living and service_rows.refused_since(connection) is None else []
        others = whole_transfers.load(connection, transfer_rows.find_all(connection, lapsing))
    lapsed = without_unrecorded(resources, [pair for whole in others for pair in _lapsed(whole, now)])
    if not expired and not lapsed:
        return 0
    with resources.database.writing() as transaction:
        transfer_rows.lock(transaction.connection, [*over, *(share.transfer_id for share, _ in lapsed)])
        keys = endings.deny_transfers(transaction, expired, Ending.EXPIRED, now=now, actor="scheduler")
        for share, claim in lapsed:
            endings.end_share(transaction, share, end_at_window(claim.delivered_at), now=now, actor="scheduler")
        # Ending a transfer makes it due at once; this sweep already handles it, so keep other sweepers away.
        transfer_rows.postpone(transaction.connection, batch, now + TAKEN_FOR)
    return sum(name.share_id is None for name in keys)


def _lapsed(case: WholeTransfer, now: datetime) -> list[tuple[ShareRow, ClaimRow]]:
    claims = {claim.share_id: claim for claim in case.claims}
    claimed = [share for share in case.shares if share.state == ShareState.CLAIMED]
    return [(share, claims[share.id]) for share in claimed if now >= claims[share.id].window_until]


def _compare(resources: Resources, cases: list[Case], watch: VaultWatch) -> None:
    """Alert on ended transfers whose rows contradict the log or the vault; nothing compares them later."""
    words: dict[str, set[str]] = {}
    for case in (case for case in cases if case.state == TransferState.DENIED):
        found = judge_facts(case, case.told)
        if (watch.end_of(case.transfer.id) or case.transfer.expires_at) < case.transfer.expires_at:
            found.add("expiry")
        if found:
            words[case.transfer.id] = found
        case.told.created = None  # compared; a batch of thousands need not keep it
    if not words:
        return
    with resources.database.writing() as transaction:
        transaction.count({"row_contradictions": len(words)})
    log.error(
        "row_contradicts_witness",
        transfers=list(words)[:5],
        count=len(words),
        what=sorted(set[str]().union(*words.values())),
        alert=True,
    )


async def _drop_abandoned_uploads(resources: Resources, cases: list[Case]) -> None:
    """Drop uploads whose process died: first the blob, then the row. A live upload locks its blob and is left alone.
    Every upload has a lease; a row without one was altered.
    """
    now = resources.clock.now()
    for case in cases:
        unfinished = [file for file in case.files if file.state == FileState.RECEIVING or file.lease_until]
        dead = [file for file in unfinished if file.lease_until is None or file.lease_until <= now]
        if case.state not in OPEN_STATES or not dead:
            continue
        failures = await resources.blobs.delete([file.blob_id for file in dead])
        gone = [file for file in dead if file.blob_id not in failures]
        case.waiting = bool(failures) and all(isinstance(failure, BlobBusy) for failure in failures.values())
        if failures:
            case.failure = "bytes_left"
        await resources.in_thread(_drop_rows, resources, gone, now)
        case.files = [file for file in case.files if file not in gone]


def _drop_rows(resources: Resources, files: list[FileRow], now: datetime) -> None:
    with resources.database.writing() as transaction:
        for file in files:
            if file_rows.drop(transaction.connection, file.blob_id):
                transaction.log(
                    Entry(
                        event=Event.UPLOAD_ABANDONED,
                        at=now,
                        actor="scheduler",
                        transfer=file.transfer_id,
                        file=file.number,
                    )
                )


def _destroy_keys(resources: Resources, cases: list[Case]) -> None:
    """Destroy the keys of ended transfers and shares, and verify that the vault holds none and SQLite's WAL no wrap."""
    cases = [case for case in cases if case.key_names and case.state != TransferState.VERIFIED]
    if not cases:
        return
    resources.destroy_keys(name for case in cases for name in case.key_names)
    _look_for_keys(resources, cases)
    if not resources.database.forget_deleted():
        for case in cases:
            case.failure = case.failure or "key_in_wal"
    reach("deletion.keys_gone")
    _note_keys_destroyed(resources, [case for case in cases if case.failure is None])
    reach("deletion.keys_noted")


def _look_for_keys(resources: Resources, cases: list[Case]) -> None:
    held = resources.vault.held(name for case in cases for name in case.key_names)
    for case in cases if held else []:
        if not held.isdisjoint(case.key_names):
            case.failure = "key_left"


def _note_keys_destroyed(resources: Resources, cases: list[Case]) -> None:
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        ended = {case.transfer.id: case.ended_shares for case in cases}
        every = [share_id for share_ids in ended.values() for share_id in share_ids]
        transfer_rows.lock(transaction.connection, list(ended))
        noted = share_rows.mark_keys_destroyed(transaction.connection, every, now)
        for case in cases:
            if case.state in OPEN_STATES:
                transaction.log(
                    *(
                        Entry(
                            event=Event.SHARE_KEYS_DESTROYED,
                            at=now,
                            actor="scheduler",
                            transfer=case.transfer.id,
                            share=share_id,
                        )
                        for share_id in ended[case.transfer.id]
                        if share_id in noted
                    )
                )
        denied = [case for case in cases if case.state == TransferState.DENIED]
        _step(resources, transaction, denied, TransferState.KEYS_DESTROYED, Event.KEYS_DESTROYED)


async def _delete_bytes(resources: Resources, cases: list[Case], watch: VaultWatch) -> int:
    """Delete the blobs, check that they are gone, and record the result. A blob that a stream still reads makes its
    transfer wait; streams are cut within a second. Return how many transfers were verified.
    """
    bytes_left = (TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED)  # the second: found again when verified
    cases = [case for case in cases if case.state in bytes_left and not case.failure]
    if not cases:
        return 0
    blob_ids = [blob_id for case in cases for blob_id in case.blob_ids]
    failures = await resources.blobs.delete(blob_ids)
    reach("deletion.bytes_gone")
    left = await resources.blobs.present(blob_ids)
    for case in cases if failures or left else []:
        own = [blob_id for blob_id in case.blob_ids if blob_id in failures or blob_id in left]
        case.waiting = bool(own) and all(isinstance(failures.get(blob_id), BlobBusy) for blob_id in own)
        if own:
            case.failure = "bytes_left"
    return await resources.in_thread(_note_gone, resources, [case for case in cases if not case.failure], watch)


def _look_everywhere(resources: Resources, cases: list[Case], watch: VaultWatch) -> None:
    """Search every hour of the vault for keys of these transfers before they may read "deleted". Keys under names that
    neither rows nor log knew are destroyed, and the next attempt searches again. The transfers wait until the vault
    may be listed.
    """
    if not watch.pace.allows(len(cases)):
        for case in cases:
            case.waiting = True
        return
    found = watch.pace.find(resources, {case.transfer.id for case in cases})
    left = {name.transfer_id for name in found.names} | found.misplaced
    for case in cases if left else []:
        if case.transfer.id in left:
            case.failure = "key_left"
    resources.destroy_keys(found.names)


def _note_gone(resources: Resources, cases: list[Case], watch: VaultWatch) -> int:
    """Record that the bytes are gone. Search for keys once more by transfer id before a transfer may read "deleted"."""
    if not cases:
        return 0
    _look_everywhere(resources, cases, watch)
    with resources.database.writing() as transaction:
        fresh = [case for case in cases if case.state == TransferState.KEYS_DESTROYED]
        _step(resources, transaction, fresh, TransferState.BYTES_DELETED, Event.BYTES_DELETED)
        verified = [case for case in cases if not case.failure and not case.waiting]
        count = _step(resources, transaction, verified, TransferState.VERIFIED, Event.TRANSFER_DELETED)
    reach("deletion.verified")
    return count


def _step(resources: Resources, transaction: Transaction, cases: list[Case], state: TransferState, event: Event) -> int:
    """Record an observed deletion step of these transfers in rows and log, in one transaction. Return how many took it
    now; another sweeper has recorded the others.
    """
    now = resources.clock.now()
    verified_at = now if state == TransferState.VERIFIED else None
    taken = transfer_rows.advance(transaction.connection, [case.transfer.id for case in cases], state, verified_at)
    if verified_at:
        late = [_lateness(case, now) for case in cases if case.transfer.id in taken]
        transaction.count(lateness_counts(late))
    for case in cases:
        case.state = state
        if case.transfer.id in taken:
            transaction.log(_step_entry(case, event, now))
    return len(taken)


def _step_entry(case: Case, event: Event, now: datetime) -> Entry:
    """Return the log entry of a step; for a verified deletion it includes file count, total size and lateness."""
    transfer = case.transfer
    if case.state != TransferState.VERIFIED:
        return Entry(event=event, at=now, actor="scheduler", transfer=transfer.id, outcome=transfer.ending)
    return Entry(
        event=event,
        at=now,
        actor="scheduler",
        transfer=transfer.id,
        outcome=transfer.ending,
        files=len(case.sizes),
        size=min(sum(case.sizes), LARGEST),
        lateness_ms=int(_lateness(case, now) / timedelta(milliseconds=1)),
    )


def _lateness(case: Case, now: datetime) -> timedelta:
    return max(timedelta(0), now - min(case.transfer.expires_at, case.transfer.denied_at or now))
