"""Reading one blob from a bucket, by ranges: the next one is requested while the last is being sent.

Every range is a request of its own, so a blob that was deleted ends its streams within two ranges, on every node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future

from app.storage.errors import BlobGone, BlobUnavailable
from app.storage.s3_calls import S3Calls
from app.storage.s3_client import ObjectMissing

FIRST_BYTES = 256 * 1024
"""Read when the blob is opened, which tells its size; a small blob needs no other request."""

WINDOW_BYTES = 4 * 1024 * 1024
"""Read at a time. A reader holds up to two windows."""

KEPT_FROM = 64 * 1024
"""A shorter range is that of one chunk, which is read once."""


def open_blob(calls: S3Calls, blob_id: str) -> tuple[int, bytes]:
    """Return a committed blob's size and its first bytes. Raises BlobGone, BlobUnavailable, ValueError."""
    key = calls.place.key_of(blob_id)
    try:
        first, size = calls.get_range(key, 0, FIRST_BYTES - 1)
    except ObjectMissing:
        raise BlobGone(f"there is no blob {blob_id}") from None
    except BlobUnavailable:
        if calls.size(key) != 0:  # an empty object has no range
            raise
        return 0, b""
    return size, first


class S3BlobReader:
    """A committed blob that is open for reading."""

    def __init__(
        self, calls: S3Calls, blob_id: str, *, opened: tuple[int, bytes], threads: Executor, closed: Callable[[], None]
    ) -> None:
        """Take what `open_blob` returned. `closed` is called once."""
        self._calls = calls
        self._blob_id = blob_id
        self._key = calls.place.key_of(blob_id)
        self._size, first = opened
        self._threads = threads
        self._closed: Callable[[], None] | None = closed
        self._window = (0, first)
        self._ahead: tuple[int, Future[bytes]] | None = None

    @property
    def size(self) -> int:
        """The blob's size in bytes."""
        return self._size

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return exactly `length` bytes from `offset` on. Raises BlobUnavailable if the blob is shorter, or was
        deleted.
        """
        if self._closed is None:
            raise BlobUnavailable(f"the blob {self._blob_id} was closed")
        if offset < 0 or length < 0:
            raise ValueError("offset and length must not be negative")
        if offset + length > self._size:
            raise BlobUnavailable(f"the blob {self._blob_id} ends before byte {offset + length}")
        pieces: list[bytes | memoryview] = []
        while length:
            piece = await self._piece(offset, length)
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the blob. Idempotent."""
        closed, self._closed = self._closed, None
        if closed is not None:
            self._window, ahead, self._ahead = (0, b""), self._ahead, None
            if ahead is not None:
                ahead[1].cancel()
            closed()

    def __del__(self) -> None:
        """Release a reader that was never closed; otherwise its blob could not be deleted."""
        self.close()

    async def _piece(self, offset: int, length: int) -> bytes | memoryview:
        """Return at least one of the bytes from `offset` on, at most `length`."""
        begins, window = self._window
        ends = begins + len(window)
        if begins <= offset < ends:
            return memoryview(window)[offset - begins : offset - begins + length]
        if offset != ends:
            content = await asyncio.wrap_future(self._requested(offset, length))
            if length >= KEPT_FROM:
                self._window = (offset, content)
            return content
        wanted = self._ahead[1] if self._ahead and self._ahead[0] == offset else self._requested(offset, WINDOW_BYTES)
        self._ahead = None
        content = await asyncio.wrap_future(wanted)
        self._window = (offset, content)
        following = offset + len(content)
        if following < self._size and self._closed is not None:
            self._ahead = (following, self._requested(following, WINDOW_BYTES))
        return memoryview(content)[:length]

    def _requested(self, offset: int, length: int) -> Future[bytes]:
        last = min(offset + length, self._size) - 1
        return self._threads.submit(self._fetch, offset, last)

    def _fetch(self, first: int, last: int) -> bytes:
        return self._calls.get_range(self._key, first, last, self._size)[0]
