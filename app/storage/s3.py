"""The blob store in a bucket: finding, deleting and listing blobs. `s3_blob.py` writes one, `s3_blob_reader.py` reads.

As on a disk, absence counts only beside the object `installation`: an empty bucket of the same name proves no deletion.
ADR 0037 says what a bucket guarantees, and what it does not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TypeVar
from weakref import WeakValueDictionary

from app.domain.finding import Finding
from app.storage import s3_blob_reader, s3_bucket, s3_search, s3_suspended
from app.storage.blob_store import StoredBlob
from app.storage.durable_files import is_installation_id
from app.storage.errors import BlobBusy, BlobUnavailable, StorageError
from app.storage.place import Place
from app.storage.s3_blob import S3BlobWriter, WriterTools
from app.storage.s3_blob_reader import S3BlobReader
from app.storage.s3_calls import S3Calls
from app.storage.s3_client import THREADS, ObjectMissing
from app.storage.s3_names import BLOBS_FOLDER, BucketPlace, blob_of_name
from app.storage.s3_suspended import SuspendedBlob

PROVED_SECONDS = 5.0
"""For how long the mark of the installation counts as read, when a blob is begun. Absence always reads it anew."""

T = TypeVar("T")


class S3Bucket:
    """A blob store below the prefix of a bucket. All calls run in threads of its own."""

    def __init__(self, place: BucketPlace, *, endpoint: str | None, installation_id: str | None = None) -> None:
        """Store the arguments; nothing is imported, connected or created before the first call."""
        self._calls = S3Calls(place, endpoint)
        self._installation_id = installation_id
        self._threads = ThreadPoolExecutor(THREADS, "s3")
        self._tools = WriterTools(self._calls, self._threads, self._remove)
        self._writers: WeakValueDictionary[str, S3BlobWriter] = WeakValueDictionary()
        self._readers: Counter[str] = Counter()
        self._proved_at = -PROVED_SECONDS

    async def create(self, blob_id: str) -> S3BlobWriter:
        """Begin a new blob. Raises DiskNearlyFull, BlobUnavailable (also if the id exists), ValueError."""
        key = self._calls.place.key_of(blob_id)
        if blob_id in self._writers:
            raise BlobUnavailable(f"the blob {blob_id} already exists")

        def begin() -> str:
            self._prove(again=False)
            if self._calls.size(key) is not None:
                raise BlobUnavailable(f"the blob {blob_id} already exists")
            return self._calls.begin(key)

        return self._writing(blob_id, SuspendedBlob(await self._in_thread(begin), (), b""), resumed=False)

    async def resume(self, blob_id: str, size: int, *, drop_rest: bool = False) -> S3BlobWriter:
        """Continue a suspended blob of `size` bytes, whichever node suspended it; with `drop_rest`, one with more.

        Raises BlobGone, BlobUnavailable, ValueError; BlobBusy only if this process writes it.
        """
        self._calls.place.key_of(blob_id)
        writer = self._writers.get(blob_id)
        if writer is not None and writer.is_open:
            raise BlobBusy(f"the blob {blob_id} is being written")

        def load() -> SuspendedBlob:
            self._prove()
            return s3_suspended.load(self._calls, blob_id, size, drop_rest=drop_rest)

        return self._writing(blob_id, await self._in_thread(load), resumed=True)

    async def open(self, blob_id: str) -> S3BlobReader:
        """Open a committed blob. Raises BlobGone, BlobUnavailable, ValueError."""
        self._readers[blob_id] += 1  # before the first byte is read: a deletion that begins now must know
        try:
            opened = await self._in_thread(s3_blob_reader.open_blob, self._calls, blob_id)
        except BaseException:
            self._closed(blob_id)
            raise
        return S3BlobReader(
            self._calls, blob_id, opened=opened, threads=self._threads, closed=lambda: self._closed(blob_id)
        )

    async def delete(self, blob_ids: Sequence[str], *, force: bool = False) -> dict[str, StorageError]:
        """Abort the uploads of these blobs, delete their objects, and look for what is left.

        Return BlobBusy for a blob that a stream of this process has open (unless `force`), BlobUnavailable for each
        not known to be gone. Raises ValueError for a bad id, before any change.
        """
        for blob_id in blob_ids:
            self._calls.place.key_of(blob_id)
        busy = set() if force else {blob_id for blob_id in blob_ids if self._is_busy(blob_id)}
        ids = [blob_id for blob_id in blob_ids if blob_id not in busy]
        for blob_id in ids:
            if (writer := self._writers.pop(blob_id, None)) is not None:
                writer.revoke()
        failures: dict[str, StorageError] = {
            blob_id: BlobBusy(f"a stream still has the blob {blob_id} open") for blob_id in busy
        }
        return failures | (await self._in_thread(self._delete, ids) if ids else {})

    async def exists(self, blob_id: str) -> bool:
        """Return whether the blob exists, complete or not. Raises BlobUnavailable."""
        return await self._in_thread(self._exists, self._calls.place.key_of(blob_id), blob_id)

    async def present(self, blob_ids: Sequence[str]) -> set[str]:
        """Return those of the blobs of which the bucket shows anything. Raises BlobUnavailable."""
        for blob_id in blob_ids:
            self._calls.place.key_of(blob_id)
        return await self._in_thread(self._look_for, blob_ids)

    def listing(self) -> Iterator[StoredBlob]:
        """Yield all blobs in constant memory. Raises BlobUnavailable rather than end early."""
        self._prove()
        yield from s3_search.listing(self._calls)
        self._prove()

    def recognises(self, path: Path) -> bool:
        """Return whether a copy of the bucket, one file per object, has a blob at this path. Reads nothing."""
        return blob_of_name(path.name) is not None and path.parent.name == BLOBS_FOLDER.rstrip("/")

    def findings(self, longest_life: timedelta) -> Iterator[Finding]:
        """Yield what is to be said of the bucket's settings. Raises BlobUnavailable."""
        return s3_bucket.findings(self._calls, longest_life)

    def place(self) -> Place:
        """Describe the store's place."""
        return Place(str(self._calls.place))

    def free_bytes(self) -> None:
        """Return None: a bucket does not tell. A full one refuses what is written, as DiskNearlyFull."""
        return

    def installation(self) -> str | None:
        """Return the id in the object `installation`, or None if there is none. Raises BlobUnavailable."""
        return self._installation(quick=True)

    def adopt(self, installation_id: str) -> None:
        """Store the object `installation`, unless it exists.

        Raises BlobUnavailable if the store belongs to another installation, or if the bucket keeps what was deleted;
        ValueError for a malformed id.
        """
        if not is_installation_id(installation_id):
            raise ValueError("an installation id is one short word of ASCII")
        s3_bucket.require_forgetful(self._calls)
        if self._installation() is None:
            self._calls.put(self._calls.place.installation_key, f"{installation_id}\n".encode("ascii"), if_absent=True)
        if self._installation() != installation_id:
            raise BlobUnavailable("the blob store belongs to another installation")
        self._installation_id = installation_id

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _writing(self, blob_id: str, begun: SuspendedBlob, *, resumed: bool) -> S3BlobWriter:
        writer = S3BlobWriter(self._tools, blob_id, begun, resumed=resumed)
        self._writers[blob_id] = writer
        return writer

    def _is_busy(self, blob_id: str) -> bool:
        writer = self._writers.get(blob_id)
        return self._readers[blob_id] > 0 or (writer is not None and writer.is_open)

    def _closed(self, blob_id: str) -> None:
        self._readers[blob_id] -= 1
        if not self._readers[blob_id]:
            del self._readers[blob_id]

    def _exists(self, key: str, blob_id: str) -> bool:
        # Asked by key first, because a listing may lag: a blob that it does not show yet must not count as lost.
        return self._calls.size(key) is not None or bool(self._look_for([blob_id]))

    def _look_for(self, blob_ids: Sequence[str]) -> set[str]:
        self._prove()
        found = s3_search.find(self._calls, blob_ids)
        left = {self._calls.place.blob_of(each.key) or "" for each in [*found.objects, *found.uploads]}
        self._prove()
        return left

    def _remove(self, blob_id: str) -> None:
        """Remove one blob. Raises BlobUnavailable if something may be left."""
        for failure in self._delete([blob_id]).values():
            raise failure

    def _delete(self, blob_ids: Sequence[str]) -> dict[str, StorageError]:
        """Abort uploads first: then none of them can be completed any more, and no object appears after the deletion.
        The objects of a suspended blob, whose names are not known, are deleted once they were found.
        """
        place = self._calls.place
        try:
            for upload in s3_search.uploads_of(self._calls, blob_ids):
                self._calls.abort(upload.key, upload.upload_id)
            refused = self._calls.delete([place.key_of(blob_id) for blob_id in blob_ids])
            found = s3_search.find(self._calls, blob_ids)
            if found.objects or found.uploads:
                for upload in found.uploads:
                    self._calls.abort(upload.key, upload.upload_id)
                refused |= self._calls.delete([each.key for each in found.objects])
                again = {place.blob_of(each.key) or "" for each in [*found.objects, *found.uploads]}
                found = s3_search.find(self._calls, again)
            self._prove()
        except StorageError as failure:
            return dict.fromkeys(blob_ids, failure)
        left = {each.key for each in [*found.objects, *found.uploads]}
        failures = {key: BlobUnavailable(f"blob store, delete: {key} is still there") for key in left} | refused
        return {blob_id: failure for key, failure in failures.items() if (blob_id := place.blob_of(key)) is not None}

    def _prove(self, *, again: bool = True) -> None:
        """Raise BlobUnavailable unless the bucket has the mark of this store's installation."""
        if not again and monotonic() - self._proved_at < PROVED_SECONDS:
            return
        carried = self._installation()
        if carried is None or self._installation_id not in {None, carried}:
            raise BlobUnavailable("this is not the blob store: its mark is missing or of another installation")
        self._proved_at = monotonic()

    def _installation(self, *, quick: bool = False) -> str | None:
        try:
            text = self._calls.get(self._calls.place.installation_key, quick=quick).decode("ascii", "replace")
        except ObjectMissing:
            # Some servers say so of a missing bucket, too; a listing of one is refused.
            self._calls.objects(self._calls.place.installation_key, most=1)
            return None
        return text.strip()
