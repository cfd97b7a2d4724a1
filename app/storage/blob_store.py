"""The blob store: encrypted bytes, one blob per file of a transfer. It never sees a key or a plaintext byte.

A blob's place is a function of its random id alone; no string of a user's becomes a path. A blob exists only after
`commit`, and then whole and durable. Implementation: `local_disk.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.storage.errors import StorageError
from app.storage.place import Place


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob as a listing finds it; `complete` is False while it is being written, or after its writer crashed."""

    blob_id: str
    size: int  # bytes
    last_write_at: datetime  # aware, UTC
    complete: bool


class BlobWriter(Protocol):
    """A blob being written. It ends with `commit` or `abort`; until then nothing can be read."""

    async def write(self, data: bytes | memoryview) -> None:
        """Append these bytes. On DiskNearlyFull and BlobUnavailable the writer has already aborted."""
        ...

    async def commit(self) -> None:
        """Make the blob readable and durable. Raises BlobGone when it was deleted meanwhile, BlobUnavailable."""
        ...

    async def abort(self) -> None:
        """Leave nothing behind, also of a `commit` that was cancelled. Does nothing after one that returned, so it fits
        in a `finally`.
        """
        ...


class BlobReader(Protocol):
    """A blob open for reading, by several ranges in any order."""

    @property
    def size(self) -> int:
        """The blob's size in bytes."""
        ...

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return exactly `length` bytes from `offset` on; BlobUnavailable when they are not all there."""
        ...

    def close(self) -> None:
        """Let go of the blob; closing twice is fine."""
        ...


class BlobStore(Protocol):
    """What every blob store does. ValueError is raised for an id that is none, before anything is touched."""

    async def create(self, blob_id: str) -> BlobWriter:
        """Begin a new blob. Raises DiskNearlyFull, BlobUnavailable (also when the id is taken)."""
        ...

    async def open(self, blob_id: str) -> BlobReader:
        """Open a committed blob. Raises BlobGone, BlobUnavailable."""
        ...

    async def delete(self, blob_ids: Sequence[str], *, force: bool = False) -> dict[str, StorageError]:
        """Remove blobs, written or being written, durably; absent ones are fine. Tries all of them.

        Returns the refusal for each blob that is not known to be gone: BlobBusy when a stream on this node has it
        open and `force` is not given, BlobUnavailable otherwise. An empty answer means that all are gone.
        """
        ...

    async def exists(self, blob_id: str) -> bool:
        """Look whether anything of the blob is stored, complete or not: the observation after a deletion."""
        ...

    async def present(self, blob_ids: Sequence[str]) -> set[str]:
        """Look which of these are stored; as `exists`, for many at once."""
        ...

    def listing(self) -> Iterator[StoredBlob]:
        """Stream all blobs in no order; one that is committed meanwhile may come twice. Raises BlobUnavailable."""
        ...

    def place(self) -> Place:
        """Describe where the store lies. Raises BlobUnavailable."""
        ...

    def free_bytes(self) -> int:
        """Return how many bytes can still be written to the volume."""
        ...

    def installation(self) -> str | None:
        """Return the id of the installation that the store belongs to; None when nobody adopted it yet."""
        ...

    def adopt(self, installation_id: str) -> None:
        """Set the store up for this installation; raises BlobUnavailable when it belongs to another one."""
        ...
