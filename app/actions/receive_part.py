"""Step 1 of a file's life, in parts: receive one part of a resumable upload, and the file with its last part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from app.crypto import chunked
from app.crypto.chunked import PassingBlob, sealed_size
from app.crypto.errors import Truncated
from app.domain.errors import MalformedCiphertext, TooLarge, TransferEnded
from app.domain.file_meta import FileMeta
from app.domain.transfer import FileState
from app.domain.upload import CHECKED_PART_BYTES, Checksum
from app.lifecycle import intake, upload_parts
from app.lifecycle.intake import AdmittedUpload, Flow
from app.lifecycle.summed import Summed
from app.lifecycle.upload_parts import EndedPart, HeldPart, PartRequest
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.storage import errors as storage_errors
from app.storage.blob_store import BlobWriter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """Where the upload stands after a part, in bytes, and when it expires unless more arrives."""

    offset: int
    expires_at: datetime


async def receive_part(
    resources: Resources, asked: PartRequest, body: AsyncIterator[bytes], *, checksum: Checksum | None = None
) -> ReceivedPart:
    """Store one part. What arrived of a part that breaks off is kept, unless it has a checksum.

    Raises what `upload_parts.hold` raises, ChecksumMismatch, MalformedCiphertext, and what refuses a deposit.
    """
    if checksum is not None:
        body = _pieces(await _checked(body, checksum))
    held = await resources.in_thread(upload_parts.hold, resources, asked)
    try:
        held, writer, passage = await upload_parts.open_blob(resources, held)
        return await _Part(resources, held, writer, passage).receive(body)
    except storage_errors.StorageError as error:
        raise await intake.refusal_of(resources, held.admitted, error) from error


async def _checked(body: AsyncIterator[bytes], checksum: Checksum) -> bytearray:
    """Return a whole part once its checksum is known to be right: encrypted bytes cannot be taken back."""
    part = bytearray()
    async for data in body:
        if len(part) + len(data) > CHECKED_PART_BYTES:
            raise TooLarge("A part with a checksum is too large.", max_bytes=CHECKED_PART_BYTES)
        part += data
    checksum.check(part)
    return part


async def _pieces(part: bytearray) -> AsyncIterator[bytes]:
    yield bytes(part)


class _Part:
    """One part on its way into its blob."""

    def __init__(self, resources: Resources, held: HeldPart, writer: BlobWriter, passage: Summed | PassingBlob) -> None:
        self._resources, self._held, self._writer, self._passage = resources, held, writer, passage
        self._offset = held.upload.offset

    async def receive(self, body: AsyncIterator[bytes]) -> ReceivedPart:
        """Pass the body on; finish the file if it is complete, else leave it so that the next part goes on."""
        try:
            flow = Flow(self._passage, self._writer, self._check)
            await intake.pass_on(self._resources, self._held.admitted, self._counted(body), flow)
        except (storage_errors.StorageError, TransferEnded):  # the writer has aborted, or the blob is to go
            await asyncio.shield(self._writer.abort())
            raise
        except BaseException:
            await asyncio.shield(self._suspend() if self._can_go_on else self._writer.abort())
            raise
        if self._offset < self._held.upload.length:
            return await asyncio.shield(self._suspend())
        async with intake.or_nothing(self._resources, self._held.admitted):
            return await self._finish()

    @property
    def _can_go_on(self) -> bool:
        """Whether another part can follow: not in the middle of a piece, whose chunks are encrypted and not stored, and
        not behind the last byte, where the client would not ask again.
        """
        between_pieces = isinstance(self._passage, PassingBlob) or self._passage.is_between_updates
        return between_pieces and self._offset < self._held.upload.length

    def _check(self, resources: Resources, _: AdmittedUpload) -> None:
        upload_parts.check(resources, self._held)

    async def _counted(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Count what is passed on, up to the upload's end. Raises TooLarge rather than pass on a byte behind it."""
        async for data in body:
            if self._offset + len(data) > self._held.upload.length:
                raise TooLarge(
                    "The part is longer than what is left of the upload.", max_bytes=self._held.upload.length
                )
            yield data
            self._offset += len(data)  # only now: it was passed on in whole
            if self._offset == self._held.upload.length:
                return

    async def _suspend(self) -> ReceivedPart:
        ended = EndedPart(self._offset)
        if isinstance(self._passage, Summed):
            rest, tail = self._passage.suspend()
            await self._writer.write(rest)
            ended = EndedPart(self._passage.size, self._passage.salt, self._passage.crc32, tail)
        await self._writer.suspend()
        reach("upload.blob_suspended")
        until = await self._resources.in_thread(upload_parts.release, self._resources, self._held, ended)
        return ReceivedPart(ended.offset, until)

    async def _finish(self) -> ReceivedPart:
        held, passage = self._held, self._passage
        try:
            await self._writer.write(passage.finish())
            arrived = replace(
                held.admitted.row,
                state=FileState.LIVE,
                size=passage.size,
                sealed_size=sealed_size(passage.size),
                sealed_meta=self._sealed_meta(),
            )
            await self._writer.commit()
        except Truncated:
            await asyncio.shield(self._writer.abort())
            raise MalformedCiphertext from None
        except BaseException:
            await asyncio.shield(self._writer.abort())
            raise
        await intake.finish_or_wait(self._resources, held.admitted, arrived)
        return ReceivedPart(self._offset, held.admitted.transfer.expires_at)

    def _sealed_meta(self) -> bytes | None:
        """Return the encrypted name and type, with the checksum that is known only now."""
        row, key = self._held.admitted.row, self._held.transfer_key
        if key is None or isinstance(self._passage, PassingBlob):
            return row.sealed_meta
        context = chunked.meta_context(row.transfer_id, row.number)
        announced = FileMeta.from_json(chunked.open_sealed(key, context, row.sealed_meta or b""))
        return chunked.seal(key, context, replace(announced, crc32=self._passage.crc32).to_json())
