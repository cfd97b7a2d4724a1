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

from app.db import service_rows, transfer_rows, whole_transfers
from app.db.share_rows import ClaimRow, ShareRow
from app.db.whole_transfers import WholeTransfer
from app.domain.claim import end_at_window
from app.domain.share import ShareState
from app.domain.transfer import OPEN_STATES, Ending, TransferState
from app.lifecycle import deletion_steps, endings
from app.lifecycle.abandoned_uploads import drop_abandoned_uploads
from app.lifecycle.contradictions import judge_facts
from app.lifecycle.deletion_case import Case, load
from app.lifecycle.deletion_retry import give_up, settle
from app.lifecycle.refused_time import without_unrecorded
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.fault_points import reach
from app.runtime.resources import Resources

TAKEN_FOR = timedelta(seconds=20)
"""Lease of a sweeper on its batch. If the sweeper dies, another takes the batch once the lease has expired."""

log = structlog.get_logger()


@dataclass(slots=True)
class BatchResult:
    """Numbers of transfers in a batch that were ended, were deleted, and failed (those are retried)."""

    ended: int = 0
    deleted: int = 0
    failed: int = 0

    def add(self, other: BatchResult) -> None:
        """Add the counts of `other` to these."""
        self.ended += other.ended
        self.deleted += other.deleted
        self.failed += other.failed


async def delete_batch(resources: Resources, batch: list[str], watch: VaultWatch) -> BatchResult:
    """Advance these transfers. If the batch fails, retry each half separately, down to single transfers, so that one
    failure does not delay the others. Rows are read here, so that a transfer with damaged rows also fails alone.
    """
    result = BatchResult()
    try:
        await _advance(resources, batch, watch, result)
    except Exception as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                result.add(await delete_batch(resources, half, watch))
            return result
        log.exception("sweep_failed", transfer=batch[0], alert=True)
        await resources.in_thread(give_up, resources, batch[0], type(error).__name__)
        result.failed += 1
    return result


async def _advance(resources: Resources, batch: list[str], watch: VaultWatch, result: BatchResult) -> None:
    """The steps, in order."""
    reach("deletion.taken")
    result.ended += await resources.in_thread(_end_what_is_due, resources, batch, watch)
    reach("deletion.ended")
    cases = await resources.in_thread(load, resources, batch)
    await resources.in_thread(_compare, resources, cases, watch)
    await drop_abandoned_uploads(resources, cases)
    advancing = _set_aside(cases, watch)
    reach("deletion.loaded")
    await resources.in_thread(deletion_steps.destroy_keys, resources, advancing)
    result.deleted += await deletion_steps.delete_bytes(resources, advancing, watch)
    result.failed += await resources.in_thread(settle, resources, cases)
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
