"""A part of a resumable upload: one request at a time holds the upload, under a lease, and says where it ended.

`offset` in the row moves only after the bytes before it are durable. Between parts, salt, blob and the bytes that fill
no chunk are stored encrypted (docs/security.md, "Uploads in parts"), so that no column decides them. No chunk number is
encrypted twice under one salt: if the process died while it received a part, chunks may have been encrypted that the
row does not know, so the file begins again in a new blob. A sealed file arrives encrypted, so it goes on at the row's
offset.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from app.crypto import chunked, wrapping
from app.crypto.chunked import CHUNK_BYTES, SALT_BYTES, Encryptor, PassingBlob
from app.crypto.errors import CannotDecrypt
from app.crypto.token import new_id
from app.db import file_rows, transfer_rows, upload_rows
from app.db.file_rows import FileRow
from app.db.upload_rows import UploadRow
from app.domain.access_token import Caller
from app.domain.errors import (
    BlobsOutOfReach,
    TransferEnded,
    TransferNotSealed,
    UploadInProgress,
    WrongOffset,
)
from app.domain.upload import expiry_of, require_idle, require_offset
from app.lifecycle import intake
from app.lifecycle.gate import require_open_for_intake
from app.lifecycle.intake import LEASE, AdmittedUpload, UploadRequest
from app.lifecycle.sealed_form import require_meta_shape
from app.lifecycle.summed import Summed
from app.lifecycle.upload_state import find, open_key
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.storage import errors as storage_errors
from app.storage.blob_store import BlobWriter

_CRC_BYTES = 4


@dataclass(frozen=True, slots=True, repr=False)
class PartRequest:
    """A request to send a part: where it begins, and its length in bytes if the client announced one. `sealed_meta`
    replaces the encrypted name of a sealed file: a client knows the file's checksum only once it has read it.
    """

    caller: Caller
    upload_id: str
    client_key: bytes | None
    offset: int
    announced: int | None
    sealed_meta: bytes | None = None


@dataclass(frozen=True, slots=True, repr=False)
class HeldPart:
    """The upload that a request holds. `transfer_key` is None if the transfer is sealed."""

    upload: UploadRow
    admitted: AdmittedUpload
    transfer_key: bytes | None
    begins: bool

    @property
    def context(self) -> bytes:
        """The context of the file's encryption."""
        return chunked.file_context(self.upload.transfer_id, self.upload.number)


@dataclass(frozen=True, slots=True, repr=False)
class EndedPart:
    """Where a part ended, in bytes. Unless the file is sealed: the salt of its encryption, the CRC-32 of all its bytes,
    and those of them that fill no chunk.
    """

    offset: int
    salt: bytes = b""
    crc32: int = 0
    tail: bytes = b""


def hold(resources: Resources, asked: PartRequest) -> HeldPart:
    """Take the upload for one part, and open its transfer's key.

    Raises UploadNotFound, UploadInProgress, WrongOffset, TooLarge, ClientKeyRequired, WrongClientKey, TransferIsSealed,
    TransferEnded, TransferClosed, VaultOutOfReach, and what refuses all uploads.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        transfer = find(connection, asked.caller, asked.upload_id, now).transfer
    transfer_key = open_key(resources, transfer, asked.client_key)
    with resources.database.writing() as transaction:
        connection = transaction.connection
        require_open_for_intake(resources, connection)
        request = UploadRequest(asked.caller, transfer.id, transfer.sealed, announced_size=None)
        current = intake.require_admissible(transfer_rows.find(connection, transfer.id, for_update=True), request, now)
        state = find(connection, asked.caller, asked.upload_id, now)
        if state.is_complete:
            raise WrongOffset("The upload is complete.", offset=state.offset)
        require_idle(state.upload.part_until, now)
        length = state.upload.length
        require_offset(asked.offset, offset=state.offset, length=length, announced=asked.announced)
        row = replace(state.upload, part=new_id(), part_until=now + LEASE)
        if state.must_begin_again:
            row = replace(row, offset=0, tail=None)
        upload_rows.hold(connection, row)
        file = _described(connection, state.file, asked.sealed_meta, sealed=current.sealed)
        file_rows.renew_lease(connection, row.blob_id, expiry_of(current.expires_at, now))
    reach("upload.part_held")
    room = resources.settings.max_transfer_bytes
    return HeldPart(
        row,
        AdmittedUpload(request, current, file, room),
        transfer_key,
        begins=row.offset == 0 and row.tail is None,
    )


def _described(connection: Connection, file: FileRow, sealed_meta: bytes | None, *, sealed: bool) -> FileRow:
    if sealed_meta is None:
        return file
    if not sealed:
        raise TransferNotSealed
    require_meta_shape(sealed_meta)
    file_rows.describe(connection, file.blob_id, sealed_meta)
    return replace(file, sealed_meta=sealed_meta)


async def open_blob(resources: Resources, held: HeldPart) -> tuple[HeldPart, BlobWriter, Summed | PassingBlob]:
    """Return the part with its blob, open at the offset, and what the body passes through. A failure ends the part.

    Raises storage errors; UploadInProgress while an earlier writer has the blob open; WrongOffset if row and blob do
    not belong together, and the upload begins again.
    """
    try:
        return await _opened(resources, held)
    except BaseException:
        await asyncio.shield(resources.in_thread(_let_go, resources, held))
        raise


def _let_go(resources: Resources, held: HeldPart) -> None:
    with resources.database.writing() as transaction:
        upload_rows.let_go(transaction.connection, held.upload.id, held.upload.part or "")


async def _opened(resources: Resources, held: HeldPart) -> tuple[HeldPart, BlobWriter, Summed | PassingBlob]:
    if held.begins:
        held = await _with_new_blob(resources, held)
        fresh = PassingBlob() if held.transfer_key is None else Summed(Encryptor(held.transfer_key, held.context))
        return held, await resources.blobs.create(held.upload.blob_id), fresh
    stored = held.upload.offset
    if held.transfer_key is None:
        return held, await _resumed(resources, held, stored), PassingBlob(stored)
    passage = _continued(held, held.transfer_key)
    if passage is None:
        raise await _begins_again(resources, held)
    size = chunked.HEADER_BYTES + stored // CHUNK_BYTES * chunked.SEALED_CHUNK_BYTES
    return held, await _resumed(resources, held, size), passage


def _continued(held: HeldPart, transfer_key: bytes) -> Summed | None:
    """Return the encryption, continued; None if what the row has is not of this upload, offset and blob."""
    row, blob = held.upload, held.upload.blob_id.encode()
    try:
        plain = wrapping.unwrap(
            wrapping.tail_key(transfer_key, row.id), row.tail or b"", wrapping.tail_label(row.id, row.offset)
        )
    except CannotDecrypt:
        return None
    crc32, salt = plain[:_CRC_BYTES], plain[_CRC_BYTES : _CRC_BYTES + SALT_BYTES]
    rest = plain[_CRC_BYTES + SALT_BYTES :]
    if not rest.startswith(blob):
        return None
    encryptor = Encryptor.resume(transfer_key, held.context, salt=salt, chunks=row.offset // CHUNK_BYTES)
    for _ in encryptor.update(rest[len(blob) :]):
        raise RuntimeError("an unfinished chunk fills no piece")
    return Summed(encryptor, int.from_bytes(crc32, "big"))


async def _resumed(resources: Resources, held: HeldPart, size: int) -> BlobWriter:
    """Open the blob at its end. Raises WrongOffset if it does not end there, UploadInProgress."""
    try:
        return await resources.blobs.resume(held.upload.blob_id, size, drop_rest=held.transfer_key is None)
    except storage_errors.BlobBusy:
        raise UploadInProgress from None
    except storage_errors.BlobGone:
        raise await _begins_again(resources, held) from None


async def _begins_again(resources: Resources, held: HeldPart) -> WrongOffset:
    """Forget what the row says, and return the refusal that tells the client."""

    def forget() -> None:
        with resources.database.writing() as transaction:
            upload_rows.hold(transaction.connection, replace(held.upload, offset=0, tail=None))

    await resources.in_thread(forget)
    return WrongOffset(offset=0)


async def _with_new_blob(resources: Resources, held: HeldPart) -> HeldPart:
    """Delete what the upload has stored, and have it begin again in another blob: a process that was paused may still
    write to the first.
    """
    old, new = held.upload.blob_id, new_id()
    failures = await resources.blobs.delete([old], force=True)
    if failures:
        raise BlobsOutOfReach from failures[old]

    def swap() -> HeldPart:
        upload = replace(held.upload, blob_id=new)
        with resources.database.writing() as transaction:
            if not file_rows.begin_again(transaction.connection, old, new):
                raise TransferEnded
            upload_rows.hold(transaction.connection, upload)
        admitted = replace(held.admitted, row=replace(held.admitted.row, blob_id=new))
        return replace(held, upload=upload, admitted=admitted)

    swapped = await resources.in_thread(swap)
    reach("upload.blob_replaced")
    return swapped


def check(resources: Resources, held: HeldPart) -> None:
    """Stop the part if its upload or transfer ended; renew its lease. Called every second."""
    intake.check_running(resources, held.admitted)
    with resources.database.writing() as transaction:
        until = resources.clock.now() + LEASE
        if not upload_rows.renew(transaction.connection, held.upload.id, held.upload.part or "", until):
            raise UploadInProgress


def release(resources: Resources, held: HeldPart, ended: EndedPart) -> datetime:
    """Record where the part ended. Return when the upload expires now."""
    row, now = held.upload, resources.clock.now()
    tail = None
    if held.transfer_key is not None:
        key = wrapping.tail_key(held.transfer_key, row.id)
        plain = ended.crc32.to_bytes(_CRC_BYTES, "big") + ended.salt + row.blob_id.encode() + ended.tail
        tail = wrapping.wrap(key, plain, wrapping.tail_label(row.id, ended.offset))
    until = expiry_of(held.admitted.transfer.expires_at, now)
    released = replace(row, offset=ended.offset, tail=tail, expires_at=until)
    with resources.database.writing() as transaction:
        if not upload_rows.release(transaction.connection, released):
            raise UploadInProgress
        file_rows.renew_lease(transaction.connection, row.blob_id, until)
    reach("upload.part_released")
    return until
