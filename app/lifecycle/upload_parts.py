"""A part of a resumable upload: one request at a time holds the upload, under a lease, and says where it ended.

`offset` in the row moves only after the bytes before it are durable. Between parts, the end of the file that does not
fill a chunk is stored encrypted (docs/security.md). No chunk number is encrypted twice under one salt: if the process
died while it sent a part, chunks may have been encrypted that the row does not know, so the file begins again in a new
blob. A sealed file arrives encrypted, so it goes on at the row's offset.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from app.crypto import chunked, wrapping
from app.crypto.chunked import CHUNK_BYTES, Encryptor, PassingBlob
from app.crypto.errors import CannotDecrypt
from app.crypto.token import new_id
from app.db import file_rows, transfer_rows, upload_rows
from app.db.file_rows import FileRow
from app.db.transfer_rows import TransferRow
from app.db.upload_rows import UploadRow
from app.domain.access_token import Caller, require_owner
from app.domain.errors import (
    BlobsOutOfReach,
    ClientKeyRequired,
    TransferEnded,
    TransferIsSealed,
    TransferNotSealed,
    UploadInProgress,
    UploadNotFound,
    WrongOffset,
)
from app.domain.upload import expiry_of, require_idle, require_offset
from app.lifecycle import intake, key_ring
from app.lifecycle.gate import require_open_for_intake
from app.lifecycle.intake import LEASE, AdmittedUpload, UploadRequest
from app.lifecycle.sealed_form import require_meta_shape
from app.lifecycle.summed import Summed
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.storage import errors as storage_errors
from app.storage.blob_store import BlobWriter

CRC_BYTES = 4
"""Before the unfinished chunk, the stored end of a part has the CRC-32 of all bytes before the offset."""


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
    """Where a part ended. Unless the file is sealed: the salt of its encryption, the CRC-32 of all its bytes, and those
    of them that fill no chunk.
    """

    offset: int
    salt: bytes | None = None
    crc32: int = 0
    tail: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """Where an upload stands. `file` is None once it is complete."""

    upload: UploadRow
    transfer: TransferRow
    file: FileRow | None

    @property
    def offset(self) -> int:
        """The byte at which the client goes on."""
        if self.file is None:
            return self.upload.length
        return 0 if self.must_begin_again else self.upload.offset

    @property
    def must_begin_again(self) -> bool:
        """Whether chunks may have been encrypted that the row does not know."""
        return self.upload.part is not None and not self.transfer.sealed


def find(connection: Connection, caller: Caller, upload_id: str, now: datetime) -> Standing:
    """Return where the caller's upload stands. Raises UploadNotFound."""
    upload = upload_rows.find(connection, upload_id)
    if upload is None:
        raise UploadNotFound
    found = transfer_rows.find(connection, upload.transfer_id)
    transfer = require_owner(found, caller, refusal=UploadNotFound)
    file = file_rows.find_receiving(connection, upload.blob_id)
    if file is not None and now >= upload.expires_at:
        raise UploadNotFound
    return Standing(upload, transfer, file)


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
        standing = find(connection, asked.caller, asked.upload_id, now)
        if standing.file is None:
            require_offset(asked.offset, offset=standing.offset, length=standing.offset, announced=asked.announced)
            raise UploadInProgress("The upload is complete.")
        require_idle(standing.upload.part_until, now)
        length = standing.upload.length
        require_offset(asked.offset, offset=standing.offset, length=length, announced=asked.announced)
        row = replace(standing.upload, offset=standing.offset, part=new_id(), part_until=now + LEASE)
        upload_rows.hold(connection, row)
        file = _described(connection, standing.file, asked.sealed_meta, sealed=current.sealed)
        file_rows.renew_lease(connection, row.blob_id, expiry_of(current.expires_at, now))
    reach("upload.part_held")
    room = resources.settings.max_transfer_bytes
    return HeldPart(
        row,
        AdmittedUpload(request, current, file, room),
        transfer_key,
        begins=row.offset == 0 and (row.salt is None or standing.must_begin_again),
    )


def _described(connection: Connection, file: FileRow, sealed_meta: bytes | None, *, sealed: bool) -> FileRow:
    if sealed_meta is None:
        return file
    if not sealed:
        raise TransferNotSealed
    require_meta_shape(sealed_meta)
    file_rows.describe(connection, file.blob_id, sealed_meta)
    return replace(file, sealed_meta=sealed_meta)


def open_key(resources: Resources, transfer: TransferRow, client_key: bytes | None) -> bytes | None:
    """Return the transfer key, None if the transfer is sealed.

    Raises ClientKeyRequired, WrongClientKey, TransferIsSealed, TransferEnded, VaultOutOfReach.
    """
    if transfer.sealed:
        if client_key is not None:
            raise TransferIsSealed
        return None
    if client_key is None:
        raise ClientKeyRequired
    return key_ring.open_for_owner(resources.vault, transfer, client_key, resources.clock.now()).transfer_key


async def open_blob(resources: Resources, held: HeldPart) -> tuple[HeldPart, BlobWriter, Summed | PassingBlob]:
    """Return the part with its blob, open at the offset, and what the body passes through.

    Raises storage errors; UploadInProgress while an earlier writer has the blob open; WrongOffset if the blob does not
    end where the row says.
    """
    if held.begins:
        held = await _with_new_blob(resources, held)
        passage = PassingBlob() if held.transfer_key is None else Summed(Encryptor(held.transfer_key, held.context))
        return held, await resources.blobs.create(held.upload.blob_id), passage
    stored = held.upload.offset
    if held.transfer_key is None:
        return held, await _resumed(resources, held, stored), PassingBlob(stored)
    writer = await _resumed(resources, held, chunked.HEADER_BYTES + stored // CHUNK_BYTES * chunked.SEALED_CHUNK_BYTES)
    return held, writer, _continued(held, held.transfer_key)


def _continued(held: HeldPart, transfer_key: bytes) -> Summed:
    """Return the encryption, continued. Raises BlobsOutOfReach if the row was altered."""
    row = held.upload
    try:
        ended = wrapping.unwrap(
            wrapping.tail_key(transfer_key, row.id), row.tail or b"", wrapping.tail_label(row.id, row.offset)
        )
    except CannotDecrypt:
        raise BlobsOutOfReach("The unfinished upload was altered. Start it again.") from None
    chunks = row.offset // CHUNK_BYTES
    encryptor = Encryptor.resume(transfer_key, held.context, salt=row.salt or b"", chunks=chunks)
    for _ in encryptor.update(ended[CRC_BYTES:]):
        raise RuntimeError("an unfinished chunk fills no piece")
    return Summed(encryptor, int.from_bytes(ended[:CRC_BYTES], "big"))


async def _resumed(resources: Resources, held: HeldPart, size: int) -> BlobWriter:
    """Open the blob at its end; if it does not end there, have the upload begin again. Raises WrongOffset."""
    try:
        return await resources.blobs.resume(held.upload.blob_id, size, drop_rest=held.transfer_key is None)
    except storage_errors.BlobBusy:
        raise UploadInProgress from None
    except storage_errors.BlobGone:
        await resources.in_thread(_forget, resources, held)
        raise WrongOffset(offset=0) from None


def _forget(resources: Resources, held: HeldPart) -> None:
    nothing = replace(held.upload, offset=0, salt=None, tail=None, part=None, part_until=None)
    with resources.database.writing() as transaction:
        upload_rows.hold(transaction.connection, nothing)


async def _with_new_blob(resources: Resources, held: HeldPart) -> HeldPart:
    """Delete what the upload has stored, and have it begin again in another blob: a process that was paused may still
    write to the first.
    """
    old, new = held.upload.blob_id, new_id()
    failures = await resources.blobs.delete([old], force=True)
    if failures:
        raise BlobsOutOfReach from failures[old]

    def swap() -> HeldPart:
        upload = replace(held.upload, blob_id=new, offset=0, salt=None, tail=None)
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
        plain = ended.crc32.to_bytes(CRC_BYTES, "big") + ended.tail
        tail = wrapping.wrap(key, plain, wrapping.tail_label(row.id, ended.offset))
    until = expiry_of(held.admitted.transfer.expires_at, now)
    released = replace(row, offset=ended.offset, salt=ended.salt, tail=tail, expires_at=until)
    with resources.database.writing() as transaction:
        if not upload_rows.release(transaction.connection, released):
            raise UploadInProgress
        file_rows.renew_lease(transaction.connection, row.blob_id, until)
    reach("upload.part_released")
    return until
