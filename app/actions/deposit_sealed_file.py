"""Step 3 of a sealed file's life: receive a file encrypted by the depositor's client, and store it unchanged.

Without the key the server can check only lengths. Only the recipient's client can check that the ciphertext opens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.crypto.chunked import PassingBlob
from app.crypto.errors import Truncated
from app.domain.access_token import Caller
from app.domain.errors import MalformedCiphertext
from app.lifecycle import intake
from app.lifecycle.intake import UploadRequest
from app.lifecycle.sealed_form import plain_size_of, require_meta_shape
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class IncomingSealedFile:
    """An incoming sealed file: number, sealed name and type, ciphertext stream, and its size in bytes if the client
    announced it.
    """

    number: int
    sealed_meta: bytes
    body: AsyncIterator[bytes]
    announced_size: int | None


async def deposit_sealed_file(
    resources: Resources, caller: Caller, *, transfer_id: str, incoming: IncomingSealedFile
) -> int:
    """Store one sealed file in an open sealed transfer. Return its size in bytes of plaintext.

    Raises TransferNotFound, TransferEnded, TransferClosed, TransferNotSealed, InvalidRequest, MalformedCiphertext,
    WrongFileNumber, RetentionNotAssured, TooLarge, DiskNearlyFull, ClientTooSlow. After any error nothing of the file
    is left.
    """
    announced = None if incoming.announced_size is None else plain_size_of(incoming.announced_size)
    request = UploadRequest(caller, transfer_id, sealed=True, announced_size=announced, number=incoming.number)
    require_meta_shape(incoming.sealed_meta)
    upload = await resources.in_thread(intake.admit, resources, request)
    async with intake.or_nothing(resources, upload):
        try:
            row = await intake.take_in(
                resources,
                upload,
                body=incoming.body,
                passage=PassingBlob(),
                sealed_meta=lambda: incoming.sealed_meta,
            )
        except Truncated:
            raise MalformedCiphertext from None
    return row.size
