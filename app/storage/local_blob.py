"""Writing one blob on a local disk.

Writes to the page cache run on the event loop, because a thread switch per piece costs more
(docs/performance.md). Calls that wait for the disk, fsync and unlink, run in a thread. A writer holds flock(LOCK_EX)
on its open file and a reader LOCK_SH (man 2 flock), so that a deletion on this node notices running streams.
"""

import asyncio
import fcntl
import os
from concurrent.futures import Executor
from contextlib import suppress

from app.storage import durable_files
from app.storage.blob_folders import INCOMING, BlobFolders, as_unavailable, folder_of
from app.storage.durable_files import opened_folder
from app.storage.errors import BlobBusy, BlobGone, BlobUnavailable, DiskNearlyFull, StorageError

SPACE_CHECK_BYTES = 64 * 1024 * 1024

SMALL_BYTES = 1024 * 1024
"""Blobs up to this size are synced in the threads that the store was given (docs/performance.md)."""


def begin(
    folders: BlobFolders, blob_id: str, *, min_free_bytes: int, threads: Executor | None = None
) -> "LocalBlobWriter":
    """Create and lock `incoming/<id>`. A small blob is committed in `threads`; None means the event loop's own.

    Raises DiskNearlyFull, BlobUnavailable (also if the id exists), ValueError.
    """
    prefix = folder_of(blob_id)
    with as_unavailable("create"), folders.proved() as root:
        _refuse_nearly_full(root, min_free_bytes)
        with opened_folder(INCOMING, within=root) as incoming:
            descriptor = durable_files.create_file(blob_id, within=incoming)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Only now: an earlier writer of this id either still holds the name above, or its blob is found here.
                _refuse_taken(f"{prefix}/{blob_id}", root)
            except BaseException:
                os.close(descriptor)
                durable_files.remove(blob_id, within=incoming)
                raise
    return LocalBlobWriter(folders, blob_id, descriptor, min_free_bytes=min_free_bytes, threads=threads)


def reopen(folders: BlobFolders, blob_id: str, size: int, *, min_free_bytes: int, drop_rest: bool) -> int:
    """Open and lock `incoming/<id>`, of `size` bytes, and return its descriptor, positioned at its end. With
    `drop_rest`, cut off what follows.

    Raises BlobGone, also for another size; BlobBusy if it is being written; BlobUnavailable, DiskNearlyFull,
    ValueError.
    """
    folder_of(blob_id)
    with as_unavailable("resume"), folders.proved() as root:
        _refuse_nearly_full(root, min_free_bytes)
        try:
            with opened_folder(INCOMING, within=root) as incoming:
                descriptor = durable_files.open_file(blob_id, within=incoming, to_write=True)
        except FileNotFoundError:
            raise BlobGone(f"there is no unfinished blob {blob_id}") from None
        try:
            _lock_alone(descriptor, blob_id)
            _require_size(descriptor, blob_id, size, or_more=drop_rest)
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, size, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


class LocalBlobWriter:
    """A blob being written, begun or reopened; ended by `commit`, `suspend` or `abort`."""

    def __init__(
        self,
        folders: BlobFolders,
        blob_id: str,
        descriptor: int,
        *,
        min_free_bytes: int,
        threads: Executor | None,
    ) -> None:
        """Take over an open and locked file, positioned at its end."""
        self._threads = threads
        self._size = os.lseek(descriptor, 0, os.SEEK_CUR)
        self._folders = folders
        self._blob_id = blob_id
        self._descriptor: int | None = descriptor
        self._min_free_bytes = min_free_bytes
        self._until_space_check = SPACE_CHECK_BYTES
        self._committing: asyncio.Future[None] | None = None
        self._aborting: asyncio.Future[None] | None = None
        self._committed = False

    async def write(self, data: bytes | memoryview) -> None:
        """Append bytes to the page cache. Free space is checked every 64 MiB.

        Raises DiskNearlyFull and BlobUnavailable after aborting, BlobGone after `abort`.
        """
        descriptor = self._still_open()
        try:
            with as_unavailable("write"):
                durable_files.write_all(descriptor, data)
            self._size += len(data)
            self._until_space_check -= len(data)
            if self._until_space_check <= 0:
                self._until_space_check = SPACE_CHECK_BYTES
                with as_unavailable("write"):
                    _refuse_nearly_full(descriptor, self._min_free_bytes)
        except StorageError:
            await self._abort_quietly()
            raise

    async def commit(self) -> None:
        """Sync the bytes, move the blob into place and sync both folders. On an error, the writer has aborted.

        Raises BlobGone if the blob was deleted meanwhile, BlobUnavailable, DiskNearlyFull. A cancelled commit continues
        in its thread; `abort` waits for it and removes the blob.
        """
        self._still_open()
        threads = self._threads if self._size <= SMALL_BYTES else None
        # Not a task: the event loop cancels tasks when it stops, and `abort` must be able to wait for the thread.
        self._committing = asyncio.get_running_loop().run_in_executor(threads, self._commit_in_thread)
        try:
            await asyncio.shield(self._committing)
        except StorageError:
            await self._abort_quietly()
            raise
        self._committed = True
        self._close()

    async def suspend(self) -> int:
        """Sync the bytes and close the blob unfinished. Return its size in bytes, at which `resume` continues it.

        Raises BlobUnavailable after aborting, BlobGone if it was deleted meanwhile.
        """
        descriptor = self._still_open()
        # Not a task, for the reason given in `commit`.
        self._committing = asyncio.get_running_loop().run_in_executor(None, self._sync_in_thread)
        try:
            await asyncio.shield(self._committing)
        except StorageError:
            await self._abort_quietly()
            raise
        if os.fstat(descriptor).st_nlink == 0:
            await self._abort_quietly()
            raise BlobGone(f"the blob {self._blob_id} was deleted while it was written")
        self._committed = True  # it stays, and this writer is done with it
        self._close()
        return self._size

    async def abort(self) -> None:
        """Remove the blob. Does nothing when called again or after a successful `commit`.

        Raises BlobUnavailable if something may be left.
        """
        if self._committed:
            return
        if self._aborting is None:
            self._aborting = asyncio.ensure_future(self._abort())
        await asyncio.shield(self._aborting)

    async def _abort(self) -> None:
        if self._committing is not None:
            await asyncio.gather(self._committing, return_exceptions=True)
        try:
            await asyncio.to_thread(self._remove_in_thread)
        finally:
            self._close()

    async def _abort_quietly(self) -> None:
        with suppress(StorageError):  # another error is being raised; reconciliation does the rest
            await self.abort()

    def _commit_in_thread(self) -> None:
        with as_unavailable("commit"):
            os.fsync(self._still_open(committing=True))
            self._folders.move_into_place(self._blob_id)

    def _sync_in_thread(self) -> None:
        with as_unavailable("suspend"):
            os.fsync(self._still_open(committing=True))
            with self._folders.proved() as root, opened_folder(INCOMING, within=root) as incoming:
                os.fsync(incoming)

    def _remove_in_thread(self) -> None:
        # In the order of the rename: a blob moved from the first folder to the second is found in one of them.
        with as_unavailable("abort"), self._folders.opened() as root:
            for folder_name in (INCOMING, folder_of(self._blob_id)):
                with suppress(FileNotFoundError), opened_folder(folder_name, within=root) as folder:
                    durable_files.remove(self._blob_id, within=folder)

    def _still_open(self, *, committing: bool = False) -> int:
        ended = self._aborting is not None or (self._committing is not None and not committing)
        if self._descriptor is None or ended:
            raise BlobGone(f"the blob {self._blob_id} is no longer being written")
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        """Release the lock of a writer that was never ended; otherwise its blob could not be deleted."""
        self._close()


def _lock_alone(descriptor: int, blob_id: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlobBusy(f"the blob {blob_id} is being written") from None


def _require_size(descriptor: int, blob_id: str, size: int, *, or_more: bool) -> None:
    found = os.fstat(descriptor)
    if found.st_nlink == 0 or found.st_size < size or (found.st_size > size and not or_more):
        raise BlobGone(f"there is no unfinished blob {blob_id} of {size} bytes")


def _refuse_taken(path: str, root: int) -> None:
    with suppress(FileNotFoundError):
        os.stat(path, dir_fd=root, follow_symlinks=False)
        raise BlobUnavailable(f"the blob {path} already exists")


def _refuse_nearly_full(descriptor: int, min_free_bytes: int) -> None:
    if durable_files.free_bytes(within=descriptor) < min_free_bytes:
        raise DiskNearlyFull("the blob store's volume is nearly full")
