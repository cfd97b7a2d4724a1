"""Step 1 of a file's life, second half, to step 3: take a file in, encrypt it while it arrives, store it.

No plaintext byte is written anywhere: each piece is encrypted in memory and appended to the blob. Order of writing:
the file's row (with a lease), the blob, the row again. Whatever breaks off in between leaves nothing: this process
removes it, or, when it was killed, the sweeper does once the lease has run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from app import key_ring
from app.crypto import chunked
from app.crypto.token import new_id
from app.db import access_token_rows, transfer_rows
from app.db.engine import Transaction
from app.db.transfer_rows import FileRow, TransferRow
from app.domain.access_token import Caller, require_valid
from app.domain.audit_events import Entry, Event
from app.domain.errors import (
    BlobsOutOfReach,
    DiskNearlyFull,
    NotAuthenticated,
    TooLarge,
    TransferEnded,
    TransferIsSealed,
    TransferNotFound,
)
from app.domain.file_meta import FileMeta
from app.domain.transfer import FileState, require_open, require_taking_files
from app.fault_points import reach
from app.gate import require_open_for_intake, require_open_for_outflow
from app.resources import Resources
from app.storage import errors as storage_errors
from app.storage.blob_store import BlobWriter
from app.stream_watch import watched

LEASE = timedelta(seconds=20)
"""How long an upload counts as alive without a sign of life; renewed while it runs."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DepositedFile:
    """A file that is durable. Size in bytes of plaintext."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Arriving:
    """A file on its way in: its name and type, its body as it comes, and its size if the client announced one."""

    meta: FileMeta
    body: AsyncIterator[bytes]
    announced_size: int | None


async def deposit_file(
    resources: Resources, caller: Caller, *, transfer_id: str, client_key: bytes, arriving: Arriving
) -> DepositedFile:
    """Take one file into an open transfer.

    Raises TransferNotFound, TransferEnded, TransferClosed, TransferIsSealed, WrongClientKey, RetentionNotAssured,
    TooLarge, DiskNearlyFull, VaultOutOfReach, ClientTooSlow. Whatever it raises, nothing of the file is left.
    """
    admitted = await resources.in_thread(_admit, resources, caller, transfer_id, client_key, arriving)
    reach("deposit.file_row_written")
    try:
        row = await _receive(resources, caller, admitted, arriving)
    except BaseException:
        await asyncio.shield(_undo(resources, admitted.row))
        raise
    return DepositedFile(row.number, row.size)


@dataclass(frozen=True, slots=True, repr=False)
class _Admitted:
    """An upload that may go on: its rows, the key to encrypt with, and the bytes the transfer still has room for."""

    transfer: TransferRow
    row: FileRow
    transfer_key: bytes
    room: int


def _admit(resources: Resources, caller: Caller, transfer_id: str, client_key: bytes, arriving: Arriving) -> _Admitted:
    """Check everything that can be checked before the first byte, and write the file's row."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        transfer = transfer_rows.find(connection, transfer_id)
    transfer = _require_admissible(transfer, caller, now)
    keys = key_ring.open_for_owner(resources.vault, transfer, client_key, now)
    with resources.database.writing() as transaction:
        require_open_for_intake(resources, transaction.connection)
        transfer = _require_admissible(
            transfer_rows.find(transaction.connection, transfer_id, for_update=True), caller, now
        )
        held = transfer_rows.files_of(transaction.connection, [transfer.id])
        room = resources.settings.max_transfer_bytes - sum(file.size for file in held)
        if (arriving.announced_size or 0) > room:
            raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
        row = _insert_row(transaction, transfer, {file.number for file in held}, now)
    return _Admitted(transfer, row, keys.transfer_key, room)


def _require_admissible(transfer: TransferRow | None, caller: Caller, now: datetime) -> TransferRow:
    if transfer is None or transfer.token_id != caller.token_id:
        raise TransferNotFound
    require_open(transfer.state, transfer.expires_at, now)
    require_taking_files(transfer.closed_at)
    if transfer.sealed:
        raise TransferIsSealed
    return transfer


def _require_token(connection: Connection, transfer: TransferRow, now: datetime) -> None:
    """Whoever loses the right to deposit loses it for what is under way, too. Raises NotAuthenticated."""
    token = access_token_rows.find(connection, transfer.token_id)
    if token is None:
        raise NotAuthenticated
    require_valid(revoked_at=token.revoked_at, expires_at=token.expires_at, now=now)


def _insert_row(transaction: Transaction, transfer: TransferRow, taken: set[int], now: datetime) -> FileRow:
    """The row, under the lowest free number: a broken upload's number is taken again, with another salt and blob."""
    row = FileRow(
        transfer_id=transfer.id,
        number=next(number for number in range(len(taken) + 1) if number not in taken),
        blob_id=new_id(),
        state=FileState.RECEIVING,
        size=0,
        sealed_size=0,
        sealed_meta=None,
        created_at=now,
        lease_until=now + LEASE,
    )
    transfer_rows.add_file(transaction.connection, row)
    transfer_rows.bring_forward(transaction.connection, transfer.id, now + LEASE)
    return row


async def _receive(resources: Resources, caller: Caller, admitted: _Admitted, arriving: Arriving) -> FileRow:
    """Encrypt the body into a blob while it comes. Answers the row with its sizes once blob and row are durable."""
    transfer, row = admitted.transfer, admitted.row
    encryptor = chunked.Encryptor(admitted.transfer_key, chunked.file_context(transfer.id, row.number))
    try:
        writer = await resources.blobs.create(row.blob_id)
        try:
            await _encrypt(resources, admitted, arriving.body, encryptor, writer)
            reach("deposit.body_written")
            arrived = _arrived(admitted, arriving, encryptor.size)
            await writer.commit(then=lambda: _finish(resources, caller, transfer, arrived))
        except BaseException:
            await asyncio.shield(writer.abort())
            raise
    except storage_errors.DiskNearlyFull as error:
        raise DiskNearlyFull from error
    except storage_errors.StorageError as error:
        raise BlobsOutOfReach from error
    return arrived


def _arrived(admitted: _Admitted, arriving: Arriving, size: int) -> FileRow:
    """The file's row with what is known at its end."""
    row = admitted.row
    context = chunked.meta_context(row.transfer_id, row.number)
    meta = chunked.seal(admitted.transfer_key, context, arriving.meta.to_json())
    return replace(row, state=FileState.LIVE, size=size, sealed_size=chunked.sealed_size(size), sealed_meta=meta)


async def _encrypt(
    resources: Resources,
    admitted: _Admitted,
    body: AsyncIterator[bytes],
    encryptor: chunked.Encryptor,
    writer: BlobWriter,
) -> None:
    """The body's way through: network, encryption, disk, a piece at a time; limits are looked at before each."""
    expires_at, now = admitted.transfer.expires_at, resources.clock.now

    async def check() -> None:
        await resources.in_thread(_check_running, resources, admitted.transfer, admitted.row)

    async with watched(check, idle_seconds=resources.settings.idle_timeout.total_seconds()) as progress:
        async for data in body:
            progress.moved()
            if encryptor.size + len(data) > admitted.room:
                raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
            if now() >= expires_at:
                raise TransferEnded
            for piece in encryptor.update(data):
                await writer.write(piece)
                reach("deposit.body_half")
        await writer.write(encryptor.finish())


def _check_running(resources: Resources, transfer: TransferRow, row: FileRow) -> None:
    """Each second: the upload stops when its transfer has ended, and renews its lease once that is half over."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        require_open_for_outflow(resources, connection)
        current = transfer_rows.find(connection, transfer.id)
        lease_until = transfer_rows.lease_of(connection, row.blob_id)
        _require_token(connection, transfer, now)
    if current is None or lease_until is None:
        raise TransferEnded
    require_open(current.state, current.expires_at, now)
    if lease_until - now < LEASE / 2:
        with resources.database.writing() as transaction:
            if not transfer_rows.renew_lease(transaction.connection, row.blob_id, now + LEASE):
                raise TransferEnded


def _finish(resources: Resources, caller: Caller, transfer: TransferRow, row: FileRow) -> None:
    """The blob is durable: let the file count, if its transfer still takes it."""
    reach("deposit.blob_committed")
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        connection = transaction.connection
        current = _require_admissible(transfer_rows.find(connection, transfer.id, for_update=True), caller, now)
        _require_token(connection, transfer, now)
        held = transfer_rows.files_of(connection, [current.id])
        if sum(file.size for file in held) + row.size > resources.settings.max_transfer_bytes:
            raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
        if not transfer_rows.finish_file(connection, row):
            raise TransferEnded
        leases = [file.lease_until for file in held if file.lease_until and file.number != row.number]
        transfer_rows.mark_live(connection, current.id, min([current.expires_at, *leases]))
        transaction.log(
            Entry(
                event=Event.FILE_DEPOSITED,
                at=now,
                actor=caller.actor,
                transfer=current.id,
                file=row.number,
                size=row.size,
            )
        )
    reach("deposit.file_finished")


async def _undo(resources: Resources, row: FileRow) -> None:
    """Leave nothing of a file that did not come to its end: the bytes first, then the row that tells of them."""
    failures = await resources.blobs.delete([row.blob_id], force=True)
    if failures:
        log.error("upload_not_removed_yet", blob=row.blob_id, alert=True)
        return  # the row's lease runs out, and the sweeper goes on trying

    def drop() -> None:
        with resources.database.writing() as transaction:
            transfer_rows.drop_file(transaction.connection, row.blob_id)

    await resources.in_thread(drop)
