"""The interface of the blob store: encrypted bytes, one blob per file. It never receives a key or plaintext.

A blob's path depends only on its random id; no user input becomes a path. A blob can be read only after `commit`, and
is then complete and durable. Implementations: `local_disk.py`, and `s3.py` for a bucket.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from app.domain.finding import Finding
from app.storage.errors import StorageError
from app.storage.place import Place


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob in a listing. `complete` is False while it is being written, or if its writer crashed."""

    blob_id: str
    size: int  # bytes; 0 for what a bucket holds of an upload, whose parts a listing does not count
    last_write_at: datetime  # aware, UTC
    complete: bool


class BlobWriter(Protocol):
    """A blob being written, ended by `commit`, `suspend` or `abort`. It cannot be read before `commit`."""

    async def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises DiskNearlyFull or BlobUnavailable; the writer has then already aborted."""
        ...

    async def commit(self) -> None:
        """Make the blob readable and durable. Raises BlobGone if it was deleted meanwhile, BlobUnavailable."""
        ...

    async def suspend(self) -> int:
        """Make the bytes durable and leave the blob unfinished. Return its size in bytes, at which `BlobStore.resume`
        continues it. Raises BlobGone if it was deleted meanwhile, BlobUnavailable, and has then aborted.
        """
        ...

    async def abort(self) -> None:
        """Remove the blob, even if its `commit` was cancelled. Does nothing after a successful `commit` or `suspend`,
        so it can be called in a `finally`.
        """
        ...


class BlobReader(Protocol):
    """A blob that is open for reading any ranges in any order."""

    @property
    def size(self) -> int:
        """The blob's size in bytes."""
        ...

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """Return exactly `length` bytes from `offset` on. Raises BlobUnavailable if the blob is shorter."""
        ...

    def close(self) -> None:
        """Close the blob. Idempotent."""
        ...


class BlobStore(Protocol):
    """The interface of every blob store. A malformed id raises ValueError before anything changes."""

    async def create(self, blob_id: str) -> BlobWriter:
        """Begin a new blob. Raises DiskNearlyFull, BlobUnavailable (also if the id exists)."""
        ...

    async def resume(self, blob_id: str, size: int, *, drop_rest: bool = False) -> BlobWriter:
        """Continue a suspended blob of `size` bytes; with `drop_rest`, one with more, of which the rest is dropped.

        Raises BlobGone if there is no unfinished blob of that size, BlobBusy if it is being written on this node (in a
        bucket: by this process), DiskNearlyFull, BlobUnavailable.
        """
        ...

    async def open(self, blob_id: str) -> BlobReader:
        """Open a committed blob. Raises BlobGone, BlobUnavailable."""
        ...

    async def delete(self, blob_ids: Sequence[str], *, force: bool = False) -> dict[str, StorageError]:
        """Durably remove blobs, complete or being written, if present. Tries all of them.

        Return the error for each blob that is not known to be gone: BlobBusy if a stream on this node (in a bucket: of
        this process) has it open (unless `force`), otherwise BlobUnavailable. An empty result means that all are gone.
        """
        ...

    async def exists(self, blob_id: str) -> bool:
        """Return whether the blob exists, complete or not, to verify a deletion."""
        ...

    async def present(self, blob_ids: Sequence[str]) -> set[str]:
        """Return those of the blobs that exist, complete or not."""
        ...

    def listing(self) -> Iterator[StoredBlob]:
        """Yield all blobs, in no order; one that is committed meanwhile may appear twice. Raises BlobUnavailable."""
        ...

    def recognises(self, path: Path) -> bool:
        """Return whether a copy of this store has a blob at `path`, by name and folder: a backup may contain it. Reads
        nothing. A store whose copies are not files returns False.
        """
        ...

    def place(self) -> Place:
        """Return the location of the store. Raises BlobUnavailable."""
        ...

    def free_bytes(self) -> int | None:
        """Return how many bytes can still be written to the volume, None if the store does not tell. Raises
        BlobUnavailable.
        """
        ...

    def findings(self, longest_life: timedelta) -> Iterator[Finding]:
        """Yield what `caducee doctor` must say of the store itself, where transfers live at most `longest_life`. Raises
        BlobUnavailable.
        """
        ...

    def installation(self) -> str | None:
        """Return the id of the installation that the store belongs to, or None if it was never adopted."""
        ...

    def adopt(self, installation_id: str) -> None:
        """Set up the store for this installation. Raises BlobUnavailable if it belongs to another one."""
        ...
