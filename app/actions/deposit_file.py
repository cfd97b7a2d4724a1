"""Step 1 of a file's life, second half, to step 3: receive a file, encrypt it while it arrives, store it.

No plaintext byte is written anywhere: each piece is encrypted in memory and appended to the blob
(`app/lifecycle/intake.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from app.crypto import chunked
from app.domain.access_token import Caller
from app.domain.errors import ClientKeyRequired
from app.domain.file_meta import FileMeta
from app.lifecycle import intake, key_ring
from app.lifecycle.intake import AdmittedUpload, UploadRequest
from app.lifecycle.summed import Summed
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class DepositedFile:
    """A durably stored file. Size in bytes of plaintext."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """An incoming file: name and type, body stream, and size in bytes if the client announced it."""

    meta: FileMeta
    body: AsyncIterator[bytes]
    announced_size: int | None


async def deposit_file(
    resources: Resources, caller: Caller, *, transfer_id: str, client_key: bytes | None, incoming: IncomingFile
) -> DepositedFile:
    """Store one file in an open transfer.

    Raises TransferNotFound, TransferEnded, TransferClosed, TransferIsSealed, ClientKeyRequired, WrongClientKey,
    RetentionNotAssured, TooLarge, DiskNearlyFull, VaultOutOfReach, ClientTooSlow. After any error nothing of the file
    is left.
    """
    request = UploadRequest(caller, transfer_id, sealed=False, announced_size=incoming.announced_size)
    upload, transfer_key = await resources.in_thread(_admit, resources, request, client_key)
    async with intake.or_nothing(resources, upload):
        number = upload.row.number
        passage = Summed(chunked.Encryptor(transfer_key, chunked.file_context(transfer_id, number)))

        def sealed_meta() -> bytes:
            meta = replace(incoming.meta, crc32=passage.crc32)
            return chunked.seal(transfer_key, chunked.meta_context(transfer_id, number), meta.to_json())

        row = await intake.take_in(resources, upload, body=incoming.body, passage=passage, sealed_meta=sealed_meta)
    return DepositedFile(row.number, row.size)


def _admit(resources: Resources, request: UploadRequest, client_key: bytes | None) -> tuple[AdmittedUpload, bytes]:
    """Return the admitted upload and the transfer key to encrypt it with."""
    transfer = intake.find_open(resources, request)
    if client_key is None:
        raise ClientKeyRequired
    keys = key_ring.open_for_owner(resources.vault, transfer, client_key, resources.clock.now())
    return intake.admit(resources, request), keys.transfer_key
