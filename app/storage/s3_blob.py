"""Writing one blob to a bucket, as a multipart upload that begins with the blob.

The open upload is the writer's right to write: whoever deletes the blob aborts the upload, and then neither a part nor
the completion is accepted, in whichever process the writer is. Parts are sent while the body arrives; the blob appears
in one step.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.storage import s3_suspended
from app.storage.errors import BlobGone, BlobUnavailable, StorageError
from app.storage.s3_calls import S3Calls
from app.storage.s3_client import KeepsVersions, ObjectMissing
from app.storage.s3_suspended import MOST_PARTS, SuspendedBlob, part_bytes

IN_FLIGHT = 2
"""Parts of a blob on their way; with the one that fills, a writer holds three parts in memory."""


@dataclass(frozen=True, slots=True)
class WriterTools:
    """What a writer needs of its store: calls, threads, and the store's way to remove a blob."""

    calls: S3Calls
    threads: Executor
    remove: Callable[[str], None]


class S3BlobWriter:
    """A blob being written, begun or resumed; ended by `commit`, `suspend` or `abort`."""

    def __init__(self, tools: WriterTools, blob_id: str, begun: SuspendedBlob, *, resumed: bool) -> None:
        """Continue an open upload. `resumed`: its state lies in the bucket."""
        self._tools = tools
        self._blob_id = blob_id
        self._key = tools.calls.place.key_of(blob_id)
        self._upload_id = begun.upload_id
        self._etags = list(begun.etags)
        self._buffer = bytearray(begun.rest)
        self._size = begun.size
        self._state_key = tools.calls.place.suspended_key(blob_id, begun.size) if resumed else None
        self._sending: deque[Future[str]] = deque()
        self._ending: Future[None] | None = None
        self._aborting: asyncio.Future[None] | None = None
        self._revoked = self._stays = False

    @property
    def is_open(self) -> bool:
        """Whether the blob is still being written."""
        return not (self._stays or self._revoked or self._aborting)

    def revoke(self) -> None:
        """Note that the blob was deleted: nothing more is written."""
        self._revoked = True

    async def write(self, data: bytes | memoryview) -> None:
        """Append bytes, and send each part that they fill.

        Raises DiskNearlyFull and BlobUnavailable after aborting, BlobGone after `abort` or a deletion.
        """
        self._require_open()
        self._buffer += data
        self._size += len(data)
        try:
            while len(self._buffer) >= (filled := part_bytes(self._next_number)):
                rest = self._buffer[filled:]
                del self._buffer[filled:]
                part, self._buffer = self._buffer, rest
                await self._send(part)
        except StorageError:
            await self._abort_quietly()
            raise

    async def commit(self) -> None:
        """Send the last part, complete the upload, and check that the object has the size written.

        Raises BlobGone if the blob was deleted meanwhile, BlobUnavailable, DiskNearlyFull; the writer has then aborted.
        A cancelled commit continues in its thread; `abort` waits for it and removes the blob.
        """
        await self._end(self._commit_in_thread)

    async def suspend(self) -> int:
        """Store the bytes that fill no part, and leave the upload open. Return the blob's size in bytes.

        Raises BlobGone if the blob was deleted meanwhile, BlobUnavailable; the writer has then aborted.
        """
        await self._end(self._suspend_in_thread)
        return self._size

    async def abort(self) -> None:
        """Remove the blob. Does nothing when called again or after a successful `commit` or `suspend`.

        Raises BlobUnavailable if something may be left.
        """
        if self._stays:
            return
        if self._aborting is None:
            self._aborting = asyncio.ensure_future(self._abort())
        await asyncio.shield(self._aborting)

    async def _end(self, in_thread: Callable[[], None]) -> None:
        self._require_open()
        try:
            while self._sending:
                await self._landed()
            # Not a task: the event loop cancels tasks when it stops, and `abort` must be able to wait for the thread.
            self._ending = self._tools.threads.submit(in_thread)
            await asyncio.shield(asyncio.wrap_future(self._ending))
        except StorageError:
            await self._abort_quietly()
            raise
        self._stays = True

    async def _abort(self) -> None:
        """Remove the blob once nothing of it is on its way: a part may be accepted after the abort that overtook it."""
        under_way: list[Future[Any]] = [*self._sending, *([self._ending] if self._ending else [])]
        await asyncio.gather(*(asyncio.wrap_future(each) for each in under_way), return_exceptions=True)
        self._buffer.clear()
        await asyncio.wrap_future(self._tools.threads.submit(self._remove_in_thread))

    async def _abort_quietly(self) -> None:
        with suppress(StorageError):  # another error is being raised; reconciliation does the rest
            await self.abort()

    @property
    def _next_number(self) -> int:
        return len(self._etags) + len(self._sending) + 1

    async def _send(self, part: bytearray) -> None:
        """Send a full part in a thread, after waiting for an earlier one if IN_FLIGHT are on their way."""
        number = self._next_number
        if number > MOST_PARTS:
            raise BlobUnavailable(f"the blob {self._blob_id} is larger than an upload can be")
        while len(self._sending) >= IN_FLIGHT:
            await self._landed()
        self._sending.append(self._tools.threads.submit(self._put_part, number, part))

    async def _landed(self) -> None:
        """Wait for the oldest part on its way. If this is cancelled, the part stays among those that `abort` awaits."""
        etag = await asyncio.shield(asyncio.wrap_future(self._sending[0]))
        self._sending.popleft()
        self._etags.append(etag)

    def _put_part(self, number: int, part: bytearray) -> str:
        try:
            return self._tools.calls.put_part(self._key, self._upload_id, number, part)
        except ObjectMissing:
            raise self._gone() from None

    def _commit_in_thread(self) -> None:
        calls = self._tools.calls
        if self._buffer or not self._etags:
            self._etags.append(self._put_part(len(self._etags) + 1, self._buffer))
        refused: StorageError | None = None
        try:
            calls.complete(self._key, self._upload_id, self._etags)
        except ObjectMissing:
            refused = self._gone()
        except KeepsVersions:
            raise
        except StorageError as error:
            refused = error
        # Look the object up even after an error: the completion may have been carried out, and its answer lost.
        size = calls.size(self._key)
        if size is None:
            raise refused or BlobUnavailable(f"the blob {self._blob_id} was completed, and is not there")
        if size != self._size:
            raise BlobUnavailable(f"the blob {self._blob_id} has {size} bytes instead of {self._size}")
        if self._revoked:
            raise self._gone()
        if self._state_key is not None:
            calls.delete([self._state_key])  # one that stays is deleted with the blob

    def _suspend_in_thread(self) -> None:
        if self._revoked:
            raise self._gone()
        state = SuspendedBlob(self._upload_id, tuple(self._etags), bytes(self._buffer))
        s3_suspended.store(self._tools.calls, self._blob_id, state)

    def _remove_in_thread(self) -> None:
        self._tools.remove(self._blob_id)

    def _gone(self) -> BlobGone:
        return BlobGone(f"the blob {self._blob_id} was deleted while it was written")

    def _require_open(self) -> None:
        if not self.is_open or self._ending is not None:
            raise BlobGone(f"the blob {self._blob_id} is no longer being written")
