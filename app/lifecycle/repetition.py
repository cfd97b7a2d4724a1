"""Repeated requests: a request with an idempotency key that was used before means that the first response was lost.

The earlier result is replaced only while nothing shows that its response did arrive: nobody has presented the link, and
no file or share was added. It ends in the transaction that makes the new result usable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.crypto.token import new_id
from app.db import idempotency_rows, transfer_rows, whole_transfers
from app.db.engine import Transaction
from app.db.errors import DatabaseUnavailable
from app.db.idempotency_rows import KeyRow
from app.db.share_rows import ShareRow
from app.db.whole_transfers import WholeTransfer
from app.domain.access_token import Caller
from app.domain.errors import AlreadyAnswered, IdempotencyInProgress, IdempotencyKeyReused
from app.domain.idempotency import KEPT_FOR, LEASE, REPLACEABLE_FOR, IdempotentRequest
from app.domain.share import ShareState
from app.domain.transfer import OPEN_STATES, Ending
from app.domain.vault_entry import EntryName
from app.lifecycle import endings
from app.runtime.resources import Resources

_FIRST_STATES = {ShareState.PREPARED, ShareState.ISSUED}
_ENDED_UNSEEN = {Ending.FAILED, Ending.UNANSWERED, Ending.REPLACED, Ending.EXPIRED}


@dataclass(frozen=True, slots=True)
class Result:
    """The transfer or share that a request created, usable since `made_at`."""

    transfer_id: str
    share_id: str | None
    made_at: datetime


@dataclass(frozen=True, slots=True, repr=False)
class Attempt:
    """A running request that holds its idempotency key."""

    id: str
    request: IdempotentRequest
    replaces: Result | None


@asynccontextmanager
async def attempted(resources: Resources, request: IdempotentRequest) -> AsyncIterator[Attempt]:
    """Hold the key while the block runs, and release it afterwards.

    Raises IdempotencyKeyReused, IdempotencyInProgress, AlreadyAnswered.
    """
    attempt = await resources.in_thread(_begin, resources, request)
    renewing = asyncio.create_task(_keep_renewing(resources, attempt))
    try:
        yield attempt
    finally:
        renewing.cancel()
        with suppress(DatabaseUnavailable):  # the lease ends by itself
            await asyncio.shield(resources.in_thread(_lease, resources, attempt, timedelta(0)))


def conclude(transaction: Transaction, attempt: Attempt, result: Result, caller: Caller) -> list[EntryName]:
    """End the earlier result and record the new one, inside the caller's transaction. Return the keys to destroy after
    the commit. Raises AlreadyAnswered, IdempotencyInProgress.
    """
    keys: list[EntryName] = []
    if attempt.replaces is not None:
        whole = _require_unseen(transaction.connection, attempt.request, attempt.replaces, result.made_at)
        keys = _end(transaction, whole, attempt, result.made_at, caller)
    held = _row(attempt, result)
    if not idempotency_rows.conclude(transaction.connection, held):
        raise IdempotencyInProgress  # this request was so slow that a repeated one took the key
    return keys


def forget(resources: Resources) -> int:
    """Delete keys that nobody will repeat any more. Return how many."""
    with resources.database.writing() as transaction:
        return idempotency_rows.forget(transaction.connection, resources.clock.now() - KEPT_FOR)


def _begin(resources: Resources, request: IdempotentRequest) -> Attempt:
    now, attempt_id = resources.clock.now(), new_id()
    fresh = KeyRow(request.digest, request.fingerprint, now, attempt_id, now + LEASE, None, None, None)
    with resources.database.writing() as transaction:
        connection = transaction.connection
        if idempotency_rows.create(connection, fresh):
            return Attempt(attempt_id, request, None)
        row = idempotency_rows.find(connection, request.digest)
        if row is not None and row.fingerprint != request.fingerprint:
            raise IdempotencyKeyReused
        if row is None or (row.lease_until is not None and now < row.lease_until):
            raise IdempotencyInProgress
        earlier = None
        if row.transfer_id is not None and row.made_at is not None:
            earlier = Result(row.transfer_id, row.share_id, row.made_at)
            _require_unseen(connection, request, earlier, now)
        idempotency_rows.hold(connection, request.digest, attempt_id, now + LEASE)
    return Attempt(attempt_id, request, earlier)


def _require_unseen(
    connection: Connection, request: IdempotentRequest, earlier: Result, now: datetime
) -> WholeTransfer | None:
    """Return the transfer of an earlier result whose response may have been lost, None if nothing is left to end.

    Raises AlreadyAnswered, also if the key's row names a transfer of another owner: such a row was altered.
    """
    row = transfer_rows.find(connection, earlier.transfer_id, for_update=True)
    own = [row] if row is not None and row.owner == request.owner else []
    whole = next(iter(whole_transfers.load(connection, own)), None)
    made_share = request.transfer_id is not None
    young = now - earlier.made_at < REPLACEABLE_FOR
    if whole is None or not young or (_share_is_known if made_share else _transfer_is_known)(whole, earlier):
        share = {} if earlier.share_id is None else {"share_id": earlier.share_id}
        raise AlreadyAnswered(transfer_id=earlier.transfer_id, **share)
    return whole if whole.transfer.state in OPEN_STATES else None


def _transfer_is_known(whole: WholeTransfer, earlier: Result) -> bool:
    """Return whether somebody acted on a transfer made by `send`, with one file and share, or opened without any."""
    made = 0 if earlier.share_id is None else 1
    if whole.transfer.state not in OPEN_STATES:
        return whole.transfer.ending not in _ENDED_UNSEEN
    return len(whole.files) > made or len(whole.shares) > made or any(map(_link_is_known, whole.shares))


def _share_is_known(whole: WholeTransfer, earlier: Result) -> bool:
    """Return whether somebody acted on a share: a sealed one is only opened by a client that received the response."""
    share = next((share for share in whole.shares if share.id == earlier.share_id), None)
    opened = share is not None and whole.transfer.sealed and share.state != ShareState.PREPARED
    return share is None or opened or _link_is_known(share)


def _link_is_known(share: ShareRow) -> bool:
    return share.state not in _FIRST_STATES or share.link_seen_at is not None


def _end(
    transaction: Transaction, whole: WholeTransfer | None, attempt: Attempt, now: datetime, caller: Caller
) -> list[EntryName]:
    if whole is None or attempt.replaces is None:
        return []
    if attempt.request.transfer_id is None:
        return endings.deny_transfer(transaction, whole.transfer, Ending.REPLACED, now=now, actor=caller.actor)
    share = next(share for share in whole.shares if share.id == attempt.replaces.share_id)
    return endings.end_share(transaction, share, ShareState.WITHDRAWN, now=now, actor=caller.actor)


def _row(attempt: Attempt, result: Result) -> KeyRow:
    request = attempt.request
    return KeyRow(
        digest=request.digest,
        fingerprint=request.fingerprint,
        created_at=result.made_at,
        attempt=attempt.id,
        lease_until=None,
        transfer_id=result.transfer_id,
        share_id=result.share_id,
        made_at=result.made_at,
    )


async def _keep_renewing(resources: Resources, attempt: Attempt) -> None:
    while True:
        await asyncio.sleep(LEASE.total_seconds() / 3)
        with suppress(DatabaseUnavailable):  # the next renewal may succeed; `conclude` checks the attempt
            await resources.in_thread(_lease, resources, attempt, LEASE)


def _lease(resources: Resources, attempt: Attempt, duration: timedelta) -> None:
    """Let the attempt hold the key for this long from now on; not if another attempt holds it."""
    with resources.database.writing() as transaction:
        until = resources.clock.now() + duration
        idempotency_rows.renew(transaction.connection, attempt.request.digest, attempt.id, until)
