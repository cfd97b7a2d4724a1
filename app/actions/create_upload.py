"""Step 1 of a file's life, in parts: announce a file that will be uploaded in parts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.crypto import chunked
from app.crypto.token import new_id
from app.db import file_rows, transfer_rows, upload_rows
from app.db.upload_rows import UploadRow
from app.domain.access_token import Caller
from app.domain.errors import ClientKeyRequired, InvalidRequest
from app.domain.file_meta import FileMeta
from app.domain.transfer import FileState
from app.domain.upload import expiry_of
from app.lifecycle import intake, upload_state
from app.lifecycle.intake import AdmittedUpload, UploadRequest
from app.lifecycle.sealed_form import plain_size_of, require_meta_shape
from app.runtime.fault_points import reach
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class NewUpload:
    """An announced file: its length in bytes as it will be sent, and its number if the client chose one. `meta` is its
    name and type, or, for a sealed transfer, their ciphertext.
    """

    transfer_id: str
    length: int
    meta: FileMeta | bytes
    number: int | None


@dataclass(frozen=True, slots=True)
class CreatedUpload:
    """An upload that waits for its first part."""

    id: str
    expires_at: datetime


def create_upload(resources: Resources, caller: Caller, new: NewUpload, *, client_key: bytes | None) -> CreatedUpload:
    """Announce a file. Announced again with the same number and length before anything of it arrived, it is the same
    upload, under the new name: the answer may have been lost.

    Raises what `deposit_file` and `deposit_sealed_file` raise before the first byte.
    """
    request = _request(caller, new)
    transfer = intake.find_open(resources, request)
    transfer_key = upload_state.open_key(resources, transfer, client_key)
    known = _announced_before(resources, new, transfer_key)
    if known is not None:
        return known
    admitted = intake.admit(resources, request)
    return _announce(resources, new, admitted, _sealed_meta(new, admitted.row.number, transfer_key))


def _request(caller: Caller, new: NewUpload) -> UploadRequest:
    """Check what needs no database. Raises InvalidRequest, MalformedCiphertext."""
    if not isinstance(new.meta, bytes):
        return UploadRequest(caller, new.transfer_id, sealed=False, announced_size=new.length, number=new.number)
    require_meta_shape(new.meta)
    if new.number is None:
        raise InvalidRequest("Upload-Metadata: number is required for a sealed file.")
    size = plain_size_of(new.length)
    return UploadRequest(caller, new.transfer_id, sealed=True, announced_size=size, number=new.number)


def _sealed_meta(new: NewUpload, number: int, transfer_key: bytes | None) -> bytes:
    """Return the encrypted name and type."""
    if isinstance(new.meta, bytes):
        return new.meta
    if transfer_key is None:
        raise ClientKeyRequired
    return chunked.seal(transfer_key, chunked.meta_context(new.transfer_id, number), new.meta.to_json())


def _announced_before(resources: Resources, new: NewUpload, transfer_key: bytes | None) -> CreatedUpload | None:
    """Return the upload of this number and length if nothing of it was sent yet; its name is then the new one."""
    if new.number is None:
        return None
    with resources.database.writing() as transaction:
        connection, now = transaction.connection, resources.clock.now()
        row = upload_rows.find_number(connection, new.transfer_id, new.number)
        if row is None or (row.length, row.offset, row.tail, row.part) != (new.length, 0, None, None):
            return None
        file = file_rows.find(connection, row.blob_id)
        if file is None or file.state != FileState.RECEIVING or now >= row.expires_at:
            return None
        file_rows.describe(connection, row.blob_id, _sealed_meta(new, new.number, transfer_key))
    return CreatedUpload(row.id, row.expires_at)


def _announce(resources: Resources, new: NewUpload, admitted: AdmittedUpload, sealed_meta: bytes) -> CreatedUpload:
    now, transfer, file = resources.clock.now(), admitted.transfer, admitted.row
    with resources.database.writing() as transaction:
        connection = transaction.connection
        row = UploadRow(
            id=new_id(),
            transfer_id=new.transfer_id,
            number=file.number,
            blob_id=file.blob_id,
            length=new.length,
            offset=0,
            tail=None,
            expires_at=expiry_of(transfer.expires_at, now),
            part=None,
            part_until=None,
        )
        upload_rows.add(connection, row)
        file_rows.describe(connection, file.blob_id, sealed_meta)
        file_rows.renew_lease(connection, file.blob_id, row.expires_at)
        transfer_rows.bring_forward(connection, transfer.id, row.expires_at)
    reach("upload.row_written")
    return CreatedUpload(row.id, row.expires_at)
