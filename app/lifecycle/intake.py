"""Upload a file: checks before the first byte, checks during the upload, and cleanup after a failure.

`deposit_file` encrypts the body, `deposit_sealed_file` stores a body encrypted by the client; both share this module.
Order of writing: the file's row (with a lease), the blob, the row again. A failure in between leaves nothing behind:
this process removes the upload, or, if it was killed, the sweeper does once the lease has expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from app.crypto.chunked import sealed_size
from app.crypto.token import new_id
from app.db import file_rows, transfer_rows, upload_rows
from app.db.engine import Transaction
from app.db.file_rows import FileRow
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller, require_owner
from app.domain.audit_events import Entry, Event
from app.domain.errors import (
    BlobsOutOfReach,
    DiskNearlyFull,
    Refusal,
    TooLarge,
    TooManyFiles,
    TransferEnded,
    TransferIsSealed,
    TransferNotSealed,
)
from app.domain.transfer import FileState, require_next_number, require_open, require_taking_files
from app.lifecycle import credentials
from app.lifecycle.gate import require_open_for_intake
from app.runtime import fairness
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.runtime.stream_watch import watched
from app.storage import errors as storage_errors
from app.storage.blob_store import BlobWriter

LEASE = timedelta(seconds=20)
"""Lease of an upload, renewed while it runs."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """An upload request: the caller, the transfer and whether it must be sealed, and, if known, the plaintext size in
    bytes and the file number.
    """

    caller: Caller
    transfer_id: str
    sealed: bool
    announced_size: int | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class AdmittedUpload:
    """An admitted upload: its rows, and the bytes of plaintext that still fit into the transfer."""

    request: UploadRequest
    transfer: TransferRow
    row: FileRow
    room: int


class Passage(Protocol):
    """A transformation of the body on its way into the blob."""

    @property
    def size(self) -> int:
        """Plaintext bytes received so far."""

    def update(self, data: bytes) -> Iterable[bytes | memoryview]:
        """Process received bytes and return the bytes to store."""

    def finish(self) -> bytes | memoryview:
        """Return the last bytes of the blob."""


def find_open(resources: Resources, request: UploadRequest) -> TransferRow:
    """Return the transfer if it accepts such a file from this caller.

    Raises TransferNotFound, TransferEnded, TransferClosed, TransferIsSealed, TransferNotSealed.
    """
    with resources.database.reading() as connection:
        return require_admissible(transfer_rows.find(connection, request.transfer_id), request, resources.clock.now())


def admit(resources: Resources, request: UploadRequest) -> AdmittedUpload:
    """Check everything that can be checked before the first byte, and write the file's row.

    Raises what `find_open` raises, and LockedDown, ClockNotTrusted, RetentionNotAssured, TooManyFiles, TooLarge,
    WrongFileNumber.
    """
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        require_open_for_intake(resources, transaction.connection)
        transfer = require_admissible(
            transfer_rows.find(transaction.connection, request.transfer_id, for_update=True), request, now
        )
        held = file_rows.counts(transaction.connection, transfer.id)
        if held.files >= resources.settings.max_files:
            raise TooManyFiles(max_files=resources.settings.max_files)
        room = resources.settings.max_transfer_bytes - held.size
        if (request.announced_size or 0) > room:
            raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
        number = held.files if held.are_contiguous else file_rows.free_number(transaction.connection, transfer.id)
        require_next_number(request.number, number)
        row = _insert_row(transaction, transfer, number, now)
    reach("deposit.file_row_written")
    return AdmittedUpload(request, transfer, row, room)


def require_admissible(found: TransferRow | None, request: UploadRequest, now: datetime) -> TransferRow:
    """Return the transfer if it accepts such a file from this caller. Raises what `find_open` raises."""
    transfer = require_owner(found, request.caller)
    require_open(transfer.state, transfer.expires_at, now)
    if transfer.sealed != request.sealed:
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
async def or_nothing(resources: Resources, upload: AdmittedUpload) -> AsyncIterator[None]:
    """Remove the file on any exception, unless the file was already committed when the task was cancelled."""
    try:
        yield
    except BaseException:
        await asyncio.shield(undo(resources, upload.row))
        raise


async def undo(resources: Resources, row: FileRow) -> None:
    """First revoke the row's right to be committed (a commit may still be running, and would make the file live without
    bytes), then delete the blob, then the row.
    """

    def give_up() -> bool:
        with resources.database.writing() as transaction:
            return file_rows.give_up(transaction.connection, row.blob_id)

    if not await resources.in_thread(give_up):
        return
    failures = await resources.blobs.delete([row.blob_id], force=True)
    if failures:
        log.error("upload_not_removed_yet", blob=row.blob_id, alert=True)
        return  # the sweeper retries once the row's lease has expired

    def drop() -> None:
        with resources.database.writing() as transaction:
            upload_rows.drop(transaction.connection, row.blob_id)
            file_rows.drop(transaction.connection, row.blob_id)

    await resources.in_thread(drop)


async def take_in(
    resources: Resources,
    upload: AdmittedUpload,
    *,
    body: AsyncIterator[bytes],
    passage: Passage,
    sealed_meta: Callable[[], bytes],
) -> FileRow:
    """Stream the body into a blob. Return the row with its sizes once blob and row are durable. `sealed_meta` is called
    once the body has arrived.

    Raises TransferEnded, TransferClosed, NotAuthenticated, TooLarge, ClientTooSlow, LockedDown, ClockNotTrusted,
    RestoreNotAccepted, RetentionNotAssured, DiskNearlyFull, BlobsOutOfReach, and what body and passage raise.
    """
    try:
        writer = await resources.blobs.create(upload.row.blob_id)
        try:
            await pass_on(resources, upload, body, Flow(passage, writer, check_running))
            await writer.write(passage.finish())
            reach("deposit.body_written")
            arrived = replace(
                upload.row,
                state=FileState.LIVE,
                size=passage.size,
                sealed_size=sealed_size(passage.size),
                sealed_meta=sealed_meta(),
            )
            await writer.commit()
        except BaseException:
            await asyncio.shield(writer.abort())
            raise
    except storage_errors.StorageError as error:
        raise await refusal_of(resources, upload, error) from error
    await finish_or_wait(resources, upload, arrived)
    return arrived


async def refusal_of(resources: Resources, upload: AdmittedUpload, error: storage_errors.StorageError) -> Exception:
    """Return the refusal for a failure of the blob store. A blob that was deleted under its writer belongs to an upload
    that has ended, where another process saw it first.
    """
    if isinstance(error, storage_errors.DiskNearlyFull):
        return DiskNearlyFull()
    if isinstance(error, storage_errors.BlobGone):
        try:
            await resources.in_thread(check_running, resources, upload)
        except Refusal as refusal:
            return refusal
    log.warning("blobs_out_of_reach", blob=upload.row.blob_id, error=str(error))
    return BlobsOutOfReach()


async def finish_or_wait(resources: Resources, upload: AdmittedUpload, arrived: FileRow) -> None:
    """Commit the file. A thread cannot be cancelled: on cancellation, wait for it; a commit it makes remains valid."""
    finishing = asyncio.ensure_future(resources.in_thread(_finish, resources, upload, arrived))
    try:
        await asyncio.shield(finishing)
    except asyncio.CancelledError:
        await asyncio.gather(finishing, return_exceptions=True)
        raise


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a body goes: through `passage` into `writer`, while `check`, called each second in a thread, passes."""

    passage: Passage
    writer: BlobWriter
    check: Callable[[Resources, AdmittedUpload], None]


async def pass_on(resources: Resources, upload: AdmittedUpload, body: AsyncIterator[bytes], flow: Flow) -> None:
    """Pass the body from the network to the disk piece by piece, checking limits before each."""
    expires_at, now = upload.transfer.expires_at, resources.clock.now

    async def check() -> None:
        await resources.in_thread(flow.check, resources, upload)

    async with watched(check, idle_seconds=resources.settings.idle_timeout.total_seconds()) as progress:
        async for data in body:
            async with fairness.step(weight=2):  # to receive the piece cost as much
                progress.moved()
                pieces = flow.passage.update(data)
                if flow.passage.size > upload.room:
                    raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
                for piece in pieces:
                    if now() >= expires_at:
                        raise TransferEnded
                    with progress.stored():
                        await flow.writer.write(piece)
                    reach("deposit.body_half")


def check_running(resources: Resources, upload: AdmittedUpload) -> None:
    """Stop the upload if its transfer has ended or the service no longer accepts uploads; renew its lease once half of
    it has passed. Called every second.
    """
    now, blob_id = resources.clock.now(), upload.row.blob_id
    with resources.database.reading() as connection:
        require_open_for_intake(resources, connection)
        current = transfer_rows.find(connection, upload.transfer.id)
        lease_until = file_rows.lease_of(connection, blob_id)
        session = credentials.require(connection, upload.request.caller, now)
    credentials.keep_alive(resources, session, now)
    if current is None or lease_until is None:
        raise TransferEnded
    require_open(current.state, current.expires_at, now)
    if lease_until - now < LEASE / 2:
        with resources.database.writing() as transaction:
            if not file_rows.renew_lease(transaction.connection, blob_id, now + LEASE):
                raise TransferEnded


def _finish(resources: Resources, upload: AdmittedUpload, row: FileRow) -> None:
    """Commit the file, whose blob is durable, if its transfer and the service still accept it."""
    reach("deposit.blob_committed")
    now, request = resources.clock.now(), upload.request
    with resources.database.writing(request.caller.cause()) as transaction:
        connection = transaction.connection
        require_open_for_intake(resources, connection)
        current = require_admissible(transfer_rows.find(connection, request.transfer_id, for_update=True), request, now)
        credentials.require(connection, request.caller, now)
        if not file_rows.finish(connection, row):
            raise TransferEnded
        held = file_rows.counts(connection, current.id)
        if held.size > resources.settings.max_transfer_bytes:
            raise TooLarge(max_bytes=resources.settings.max_transfer_bytes)
        transfer_rows.mark_live(connection, current.id, min(current.expires_at, held.lease_until or current.expires_at))
        transaction.log(
            Entry(
                event=Event.FILE_DEPOSITED,
                at=now,
                actor=request.caller.actor,
                transfer=current.id,
                file=row.number,
                size=row.size,
                sealed=current.sealed or None,
                blob=row.blob_id,
            )
        )
    reach("deposit.file_finished")
