"""Where a resumable upload stands, for its depositor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.db import file_rows, transfer_rows, upload_rows
from app.db.file_rows import FileRow
from app.db.transfer_rows import TransferRow
from app.db.upload_rows import UploadRow
from app.domain.access_token import Caller, require_owner
from app.domain.errors import ClientKeyRequired, TransferIsSealed, UploadNotFound
from app.domain.transfer import FileState
from app.lifecycle import key_ring
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class UploadState:
    """Where an upload stands."""

    upload: UploadRow
    transfer: TransferRow
    file: FileRow

    @property
    def is_complete(self) -> bool:
        """Whether the file is stored."""
        return self.file.state == FileState.LIVE

    @property
    def offset(self) -> int:
        """The byte at which the client goes on."""
        if self.is_complete:
            return self.upload.length
        return 0 if self.must_begin_again else self.upload.offset

    @property
    def must_begin_again(self) -> bool:
        """Whether chunks may have been encrypted that the row does not know."""
        return self.upload.part is not None and not self.transfer.sealed


def find(connection: Connection, caller: Caller, upload_id: str, now: datetime) -> UploadState:
    """Return where the caller's upload stands. Raises UploadNotFound, also if its file was removed."""
    upload = upload_rows.find(connection, upload_id)
    if upload is None:
        raise UploadNotFound
    found = transfer_rows.find(connection, upload.transfer_id)
    transfer = require_owner(found, caller, refusal=UploadNotFound)
    file = file_rows.find(connection, upload.blob_id)
    if file is None:
        raise UploadNotFound
    state = UploadState(upload, transfer, file)
    if not state.is_complete and now >= upload.expires_at:
        raise UploadNotFound
    return state


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
