"""Taking a file in, whoever encrypts it: what is checked before the first byte, watched while it comes, and undone.

`deposit_file` encrypts what arrives, `deposit_sealed_file` lets pass what was encrypted before; all else is here, once.
Order of writing: the file's row (with a lease), the blob, the row again. Whatever breaks off in between leaves nothing:
this process removes it, or, when it was killed, the sweeper does once the lease has run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy import Connection

from app.crypto.chunked import sealed_size
from app.crypto.token import new_id
from app.db import access_token_rows, file_rows, transfer_rows
from app.db.engine import Transaction
from app.db.file_rows import FileRow
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller, require_owner, require_valid
from app.domain.audit_events import Entry, Event
from app.domain.errors import (
    BlobsOutOfReach,
    DiskNearlyFull,
    NotAuthenticated,
    TooLarge,
    TransferEnded,
    TransferIsSealed,
    TransferNotSealed,
)
from app.domain.transfer import FileState, next_file_number, require_open, require_taking_files
from app.lifecycle.gate import require_open_for_intake
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.runtime.stream_watch import watched
from app.storage import errors as storage_errors
from app.storage.blob_store import BlobWriter

LEASE = timedelta(seconds=20)
"""How long an upload counts as alive without a sign of life; renewed while it runs."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants to add a file to what: a sealed transfer or another, of how many bytes of plaintext if that is known,
    and under which number if the sender says so.
    """

    caller: Caller
    transfer_id: str
    sealed: bool
    announced_size: int | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """An upload that may go on: its rows, and the bytes of plaintext that the transfer still has room for."""

    asked: Asked
    transfer: TransferRow
    row: FileRow
    room: int


class Passage(Protocol):
    """What a body passes on its way into the blob."""

    @property
    def size(self) -> int:
        """Bytes of plaintext so far."""

    def update(self, data: bytes) -> Iterable[bytes | memoryview]:
        """Take in what arrived, and give what is to be stored of it."""

    def finish(self) -> bytes | memoryview:
        """Give the end of the blob."""


def find_open(resources: Resources, asked: Asked) -> TransferRow:
    """The transfer, if it takes such a file from this caller.

    Raises TransferNotFound, TransferEnded, TransferClosed, TransferIsSealed, TransferNotSealed.
    """
    with resources.database.reading() as connection:
        return _require_admissible(transfer_rows.find(connection, asked.transfer_id), asked, resources.clock.now())


def admit(resources: Resources, asked: Asked) -> Admitted:
    """Check everything that can be checked before the first byte, and write the file's row.

    Raises what `find_open` raises, and LockedDown, ClockNotTrusted, RetentionNotAssured, TooLarge, WrongFileNumber.
    """
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        require_open_for_intake(resources, transaction.connection)
        transfer = _require_admissible(
            transfer_rows.find(transaction.connection, asked.transfer_id, for_update=True), asked, now
        )
        held = file_rows.of_transfers(transaction.connection, [transfer.id])
        room = resources.settings.max_transfer_bytes - sum(file.size for file in held)
        if (asked.announced_size or 0) > room:
            raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
        number = next_file_number({file.number for file in held}, asked.number)
        row = _insert_row(transaction, transfer, number, now)
    reach("deposit.file_row_written")
    return Admitted(asked, transfer, row, room)


def _require_admissible(found: TransferRow | None, asked: Asked, now: datetime) -> TransferRow:
    transfer = require_owner(found, asked.caller)
    require_open(transfer.state, transfer.expires_at, now)
    if transfer.sealed != asked.sealed:
        raise TransferIsSealed if transfer.sealed else TransferNotSealed
    require_taking_files(transfer.closed_at)
    return transfer


def _insert_row(transaction: Transaction, transfer: TransferRow, number: int, now: datetime) -> FileRow:
    row = FileRow(
        transfer_id=transfer.id,
        number=number,
        blob_id=new_id(),
        state=FileState.RECEIVING,
        size=0,
        sealed_size=0,
        sealed_meta=None,
        created_at=now,
        lease_until=now + LEASE,
    )
    file_rows.add(transaction.connection, row)
    transfer_rows.bring_forward(transaction.connection, transfer.id, now + LEASE)
    return row


@asynccontextmanager
async def or_nothing(resources: Resources, admitted: Admitted) -> AsyncIterator[None]:
    """Whatever is raised inside, nothing of the file is left; unless it was cancelled when the file counted already."""
    try:
        yield
    except BaseException:
        await asyncio.shield(_undo(resources, admitted.row))
        raise


async def _undo(resources: Resources, row: FileRow) -> None:
    """The bytes first, then the row that tells of them; before both, the right of a thread that may still run to let
    the file count, which would be live without bytes.
    """

    def give_up() -> bool:
        with resources.database.writing() as transaction:
            return file_rows.give_up(transaction.connection, row.blob_id)

    if not await resources.in_thread(give_up):
        return
    failures = await resources.blobs.delete([row.blob_id], force=True)
    if failures:
        log.error("upload_not_removed_yet", blob=row.blob_id, alert=True)
        return  # the row's lease runs out, and the sweeper goes on trying

    def drop() -> None:
        with resources.database.writing() as transaction:
            file_rows.drop(transaction.connection, row.blob_id)

    await resources.in_thread(drop)


async def take_in(
    resources: Resources, admitted: Admitted, *, body: AsyncIterator[bytes], passage: Passage, sealed_meta: bytes
) -> FileRow:
    """Store the body as a blob while it comes. Answers the row with its sizes once blob and row are durable.

    Raises TransferEnded, TransferClosed, NotAuthenticated, TooLarge, ClientTooSlow, LockedDown, ClockNotTrusted,
    RestoreNotAccepted, RetentionNotAssured, DiskNearlyFull, BlobsOutOfReach, and what body and passage raise.
    """
    try:
        writer = await resources.blobs.create(admitted.row.blob_id)
        try:
            await _pass(resources, admitted, body, passage, writer)
            reach("deposit.body_written")
            arrived = replace(
                admitted.row,
                state=FileState.LIVE,
                size=passage.size,
                sealed_size=sealed_size(passage.size),
                sealed_meta=sealed_meta,
            )
            await writer.commit()
        except BaseException:
            await asyncio.shield(writer.abort())
            raise
    except storage_errors.DiskNearlyFull as error:
        raise DiskNearlyFull from error
    except storage_errors.StorageError as error:
        raise BlobsOutOfReach from error
    await _finish_or_wait(resources, admitted, arrived)
    return arrived


async def _finish_or_wait(resources: Resources, admitted: Admitted, arrived: FileRow) -> None:
    """Let the file count. A thread cannot be stopped: once cancelled, wait for what it commits, which then stands."""
    finishing = asyncio.ensure_future(resources.in_thread(_finish, resources, admitted, arrived))
    try:
        await asyncio.shield(finishing)
    except asyncio.CancelledError:
        await asyncio.gather(finishing, return_exceptions=True)
        raise


async def _pass(
    resources: Resources, admitted: Admitted, body: AsyncIterator[bytes], passage: Passage, writer: BlobWriter
) -> None:
    """The body's way from the network to the disk, a piece at a time; limits are looked at before each."""
    expires_at, now = admitted.transfer.expires_at, resources.clock.now

    async def check() -> None:
        await resources.in_thread(_check_running, resources, admitted)

    async with watched(check, idle_seconds=resources.settings.idle_timeout.total_seconds()) as progress:
        async for data in body:
            progress.moved()
            pieces = passage.update(data)
            if passage.size > admitted.room:
                raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
            for piece in pieces:
                if now() >= expires_at:
                    raise TransferEnded
                await writer.write(piece)
                reach("deposit.body_half")
        await writer.write(passage.finish())


def _check_running(resources: Resources, admitted: Admitted) -> None:
    """Each second: the upload stops when its transfer has ended or the service takes nothing in any more, and renews
    its lease once that is half over.
    """
    now, blob_id = resources.clock.now(), admitted.row.blob_id
    with resources.database.reading() as connection:
        require_open_for_intake(resources, connection)
        current = transfer_rows.find(connection, admitted.transfer.id)
        lease_until = file_rows.lease_of(connection, blob_id)
        _require_token(connection, admitted.asked.caller, now)
    if current is None or lease_until is None:
        raise TransferEnded
    require_open(current.state, current.expires_at, now)
    if lease_until - now < LEASE / 2:
        with resources.database.writing() as transaction:
            if not file_rows.renew_lease(transaction.connection, blob_id, now + LEASE):
                raise TransferEnded


def _require_token(connection: Connection, caller: Caller, now: datetime) -> None:
    """Refuse what a caller is still uploading once its own token, not the transfer's, is revoked or has expired.

    Raises NotAuthenticated.
    """
    token = access_token_rows.find(connection, caller.token_id)
    if token is None:
        raise NotAuthenticated
    require_valid(revoked_at=token.revoked_at, expires_at=token.expires_at, now=now)


def _finish(resources: Resources, admitted: Admitted, row: FileRow) -> None:
    """The blob is durable: let the file count, if its transfer and the service still take it."""
    reach("deposit.blob_committed")
    now, asked = resources.clock.now(), admitted.asked
    with resources.database.writing() as transaction:
        connection = transaction.connection
        require_open_for_intake(resources, connection)
        current = _require_admissible(transfer_rows.find(connection, asked.transfer_id, for_update=True), asked, now)
        _require_token(connection, asked.caller, now)
        held = file_rows.of_transfers(connection, [current.id])
        if sum(file.size for file in held) + row.size > resources.settings.max_transfer_bytes:
            raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
        if not file_rows.finish(connection, row):
            raise TransferEnded
        leases = [file.lease_until for file in held if file.lease_until and file.number != row.number]
        transfer_rows.mark_live(connection, current.id, min([current.expires_at, *leases]))
        transaction.log(
            Entry(
                event=Event.FILE_DEPOSITED,
                at=now,
                actor=asked.caller.actor,
                transfer=current.id,
                file=row.number,
                size=row.size,
                sealed=current.sealed or None,
                blob=row.blob_id,
            )
        )
    reach("deposit.file_finished")
