"""Reading one blob on a local disk. Reads of the page cache run on the event loop, as writes do (`local_blob.py`)."""

import fcntl
import os

from app.storage import durable_files
from app.storage.blob_folders import BlobFolders, as_unavailable, folder_of
from app.storage.durable_files import opened_folder
from app.storage.errors import BlobGone, BlobUnavailable


def open_blob(folders: BlobFolders, blob_id: str) -> "LocalBlobReader":
    """Open and lock a committed blob. Raises BlobGone, BlobUnavailable, ValueError."""
    prefix = folder_of(blob_id)
    with as_unavailable("open"), folders.proved() as root:
        try:
            with opened_folder(prefix, within=root) as folder:
                descriptor = durable_files.open_file(blob_id, within=folder)
        except FileNotFoundError:
            raise BlobGone(f"there is no blob {blob_id}") from None
        try:
            _share(descriptor, blob_id)
        except BaseException:
            os.close(descriptor)
            raise
    return LocalBlobReader(blob_id, descriptor)


class LocalBlobReader:
    """A committed blob that is open for reading. Created by `open_blob`."""

    def __init__(self, blob_id: str, descriptor: int) -> None:
        """Take over an open and locked file."""
        self._blob_id = blob_id
        self._descriptor: int | None = descriptor
        self._size = os.fstat(descriptor).st_size

    @property
    def size(self) -> int:
        """The blob's size in bytes."""
        return self._size

    async def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on. Raises BlobUnavailable if the blob is shorter."""
        if self._descriptor is None:
            raise BlobUnavailable(f"the blob {self._blob_id} was closed")
        if offset < 0 or length < 0:
            raise ValueError("offset and length must not be negative")
        with as_unavailable("read"):
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise BlobUnavailable(f"the blob {self._blob_id} ends before byte {offset + length}")
                data += more
        return data

    def close(self) -> None:
        """Close the blob. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        """Release the lock of a reader that was never closed."""
        self.close()


def _share(descriptor: int, blob_id: str) -> None:
    """Take a reader's lock. Raises BlobGone if a deletion, which locks the file and then unlinks it, did either."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlobGone(f"the blob {blob_id} is being deleted") from None
    if os.fstat(descriptor).st_nlink == 0:
        raise BlobGone(f"the blob {blob_id} was deleted")
