"""The deletion steps of a batch of ended transfers: destroy the keys, delete the bytes, verify.

Each step counts once its effect was observed, and is then recorded in rows and log in one transaction. Failures are
noted in the case.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app.db import share_rows, transfer_rows
from app.db.engine import Transaction
from app.domain.audit_events import Entry, Event
from app.domain.retention import lateness_counts
from app.domain.transfer import OPEN_STATES, TransferState
from app.lifecycle.deletion_case import Case
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.storage.errors import BlobBusy

LARGEST = 2**53 - 1
"""Largest integer a log entry can hold. A tampered size in the database must not make a deletion fail."""


def destroy_keys(resources: Resources, cases: list[Case]) -> None:
    """Destroy the keys of ended transfers and shares, and verify that the vault holds none and SQLite's WAL no wrap."""
    cases = [case for case in cases if case.key_names and case.state != TransferState.VERIFIED]
    if not cases:
        return
    resources.destroy_keys(name for case in cases for name in case.key_names)
    _check_keys_gone(resources, cases)
    if not resources.database.forget_deleted():
        for case in cases:
            case.failure = case.failure or "key_in_wal"
    reach("deletion.keys_gone")
    _record_keys_destroyed(resources, [case for case in cases if case.failure is None])
    reach("deletion.keys_noted")


def _check_keys_gone(resources: Resources, cases: list[Case]) -> None:
    """Mark the cases as failed whose keys the vault still holds."""
    held = resources.vault.held(name for case in cases for name in case.key_names)
    for case in cases if held else []:
        if not held.isdisjoint(case.key_names):
            case.failure = "key_left"


def _record_keys_destroyed(resources: Resources, cases: list[Case]) -> None:
    """Record that the keys of ended transfers, and of ended shares of open ones, were observed to be gone."""
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
        _record_step(resources, transaction, denied, TransferState.KEYS_DESTROYED, Event.KEYS_DESTROYED)


async def delete_bytes(resources: Resources, cases: list[Case], watch: VaultWatch) -> int:
    """Delete the blobs, check that they are gone, and record the result. A blob that a stream still reads makes its
    transfer wait; streams are cut within a second. Return how many transfers were verified.
    """
    bytes_left = (TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED)  # the latter are checked again
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
    return await resources.in_thread(_record_bytes_gone, resources, [case for case in cases if not case.failure], watch)


def _search_vault(resources: Resources, cases: list[Case], watch: VaultWatch) -> None:
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


def _record_bytes_gone(resources: Resources, cases: list[Case], watch: VaultWatch) -> int:
    """Record that the bytes are gone. Search for keys once more by transfer id before a transfer may read "deleted"."""
    if not cases:
        return 0
    _search_vault(resources, cases, watch)
    with resources.database.writing() as transaction:
        fresh = [case for case in cases if case.state == TransferState.KEYS_DESTROYED]
        _record_step(resources, transaction, fresh, TransferState.BYTES_DELETED, Event.BYTES_DELETED)
        verified = [case for case in cases if not case.failure and not case.waiting]
        count = _record_step(resources, transaction, verified, TransferState.VERIFIED, Event.TRANSFER_DELETED)
    reach("deletion.verified")
    return count


def _record_step(
    resources: Resources, transaction: Transaction, cases: list[Case], state: TransferState, event: Event
) -> int:
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
