"""The blob store on a local disk: finding, deleting and listing blobs. `local_blob.py` reads and writes one blob.

As in the vault, absence counts only beside the installation file: the empty mount point of an unmounted volume is no
proof of deletion.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.crypto.token import is_id
from app.domain.finding import Finding
from app.storage import durable_files, local_blob, local_blob_reader
from app.storage.blob_folders import (
    INCOMING,
    PREFIX_LENGTH,
    BlobFolders,
    as_unavailable,
    folder_of,
    is_blob_path,
    unavailable,
)
from app.storage.blob_store import StoredBlob
from app.storage.durable_files import opened_folder
from app.storage.errors import BlobBusy, BlobUnavailable, StorageError
from app.storage.local_blob import LocalBlobWriter
from app.storage.local_blob_reader import LocalBlobReader
from app.storage.place import Place, folder_place

SYNC_VOLUME_FROM = 64
"""From this number of folders, one syncfs replaces the fsync of each. Random ids rarely share a folder."""


LIST_FROM = 64
"""From this number of blobs, `incoming` is listed once instead of checked for each blob."""


class LocalDisk:
    """A blob store below `root` that leaves `min_free_bytes` of its volume free. `threads` sync small blobs."""

    def __init__(
        self,
        root: Path,
        *,
        min_free_bytes: int,
        installation_id: str | None = None,
        threads: Executor | None = None,
    ) -> None:
        """Store the arguments; nothing is created or opened before `adopt`."""
        self._threads = threads
        self._folders = BlobFolders(root, installation_id)
        self._min_free_bytes = min_free_bytes

    async def create(self, blob_id: str) -> LocalBlobWriter:
        """Begin a new blob. Raises DiskNearlyFull, BlobUnavailable (also if the id exists), ValueError."""
        return local_blob.begin(self._folders, blob_id, min_free_bytes=self._min_free_bytes, threads=self._threads)

    async def resume(self, blob_id: str, size: int, *, drop_rest: bool = False) -> LocalBlobWriter:
        """Continue a suspended blob of `size` bytes; with `drop_rest`, one with more, of which the rest is dropped.

        Raises BlobGone, BlobBusy, DiskNearlyFull, BlobUnavailable, ValueError.
        """
        descriptor = local_blob.reopen(
            self._folders, blob_id, size, min_free_bytes=self._min_free_bytes, drop_rest=drop_rest
        )
        return local_blob.LocalBlobWriter(
            self._folders,
            blob_id,
            descriptor,
            min_free_bytes=self._min_free_bytes,
            threads=self._threads,
        )

    async def open(self, blob_id: str) -> LocalBlobReader:
        """Open a committed blob. Raises BlobGone, BlobUnavailable, ValueError."""
        return local_blob_reader.open_blob(self._folders, blob_id)

    async def delete(self, blob_ids: Sequence[str], *, force: bool = False) -> dict[str, StorageError]:
        """Remove complete and incoming blobs off the event loop, with one fsync per folder or one syncfs for all.

        Return BlobBusy or BlobUnavailable for each blob not known to be gone. Raises ValueError for a bad id, before
        any change. With `force`, open readers continue on the unlinked file, and a writer cannot commit.
        """
        deletion = _Deletion(self._folders, blob_ids, force=force)
        return await asyncio.to_thread(deletion.run)

    async def exists(self, blob_id: str) -> bool:
        """Return whether the blob exists, complete or not. Raises BlobUnavailable."""
        return bool(self._look_for([blob_id]))

    async def present(self, blob_ids: Sequence[str]) -> set[str]:
        """Return those of the blobs that exist, complete or not, using one thread. Raises BlobUnavailable."""
        return await asyncio.to_thread(self._look_for, blob_ids)

    def _look_for(self, blob_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        with as_unavailable("look"), self._folders.proved() as root:
            for folder_name, ids in _by_folder(blob_ids).items():
                with suppress(FileNotFoundError), opened_folder(folder_name, within=root) as folder:
                    possible = _among(ids, folder) if folder_name == INCOMING else ids
                    found.update(blob_id for blob_id in possible if durable_files.is_there(blob_id, within=folder))
        return found

    def listing(self) -> Iterator[StoredBlob]:
        """Yield all blobs in constant memory. Raises BlobUnavailable rather than end early.

        Incoming blobs come first, so that a blob committed meanwhile is listed at least once. Files that are not named
        by an id, or are in the wrong folder, are skipped.
        """
        with as_unavailable("listing"), self._folders.proved() as root:
            yield from _blobs_in(INCOMING, root)
            with os.scandir(root) as found:
                prefixes = [each.name for each in found if len(each.name) == PREFIX_LENGTH]
            for prefix in prefixes:
                yield from _blobs_in(prefix, root)

    def recognises(self, path: Path) -> bool:
        """Return whether this is the path of a blob. Reads nothing."""
        return is_blob_path(path)

    def place(self) -> Place:
        """Describe the store's folder. Raises BlobUnavailable."""
        with as_unavailable("place"):
            return folder_place(self._folders.path)

    def free_bytes(self) -> int:
        """Return how many bytes an unprivileged process can still write to the volume. Raises BlobUnavailable."""
        with as_unavailable("free space"), self._folders.opened() as root:
            return durable_files.free_bytes(within=root)

    def findings(self, longest_life: timedelta) -> Iterator[Finding]:  # noqa: ARG002 - for stores with rules of their own
        """Yield nothing: mode and volume, which `place` describes, are all there is to say."""
        return iter(())

    def installation(self) -> str | None:
        """Return the id in `<blobs>/installation`, or None if there is no store yet. Raises BlobUnavailable."""
        with as_unavailable("installation"):
            try:
                with self._folders.opened() as root:
                    return durable_files.read_installation(within=root)
            except FileNotFoundError:
                if self._folders.installation_id is None:
                    return None
                raise

    def adopt(self, installation_id: str) -> None:
        """Create the store's folders and its installation file, unless they exist.

        Raises BlobUnavailable if the store belongs to another installation, ValueError for a malformed id.
        """
        with as_unavailable("adopt"):
            durable_files.make_root(self._folders.path)
            with self._folders.opened() as root:
                if durable_files.adopt_installation(installation_id, within=root) != installation_id:
                    raise BlobUnavailable("the blob store belongs to another installation")
                durable_files.make_folder(INCOMING, within=root)
                os.fsync(root)
        self._folders.installation_id = installation_id


class _Deletion:
    """The deletion of one batch of blobs."""

    def __init__(self, folders: BlobFolders, blob_ids: Sequence[str], *, force: bool) -> None:
        self._folders = folders
        self._force = force
        self._places = _by_folder(blob_ids)
        self._failures: dict[str, StorageError] = {}

    def run(self) -> dict[str, StorageError]:
        """Unlink all blobs, then sync each folder, or the volume if there are many; return the failures by blob id."""
        try:
            with as_unavailable("delete"), self._folders.opened() as root:
                coming, *others = self._places
                self._unlink([coming], root)  # first: a blob committed meanwhile is then found in its final folder
                durable_files.at_once(lambda names: self._unlink(names, root), others)
                if len(self._places) < SYNC_VOLUME_FROM or not durable_files.sync_volume(within=root):
                    for folder_name, ids in self._places.items():
                        self._sync(folder_name, ids, root)
                self._folders.prove(root)
        except StorageError as refusal:
            return dict.fromkeys(self._places[INCOMING], refusal)
        return self._failures

    def _unlink(self, folder_names: Sequence[str], root: int) -> None:
        for folder_name in folder_names:
            ids = self._places[folder_name]
            try:
                with (
                    as_unavailable("delete"),
                    suppress(FileNotFoundError),
                    opened_folder(folder_name, within=root) as folder,
                ):
                    for blob_id in _among(ids, folder) if folder_name == INCOMING else ids:
                        self._unlink_one(blob_id, folder)
            except StorageError as refusal:
                self._fail(ids, refusal)

    def _unlink_one(self, blob_id: str, folder: int) -> None:
        try:
            _unlink_unless_open(blob_id, folder, force=self._force)
        except BlobBusy as refusal:
            self._fail([blob_id], refusal)
        except OSError as error:
            self._fail([blob_id], unavailable("delete", error))

    def _sync(self, folder_name: str, ids: list[str], root: int) -> None:
        try:
            with as_unavailable("delete"):
                _sync_folder(folder_name, root)
        except StorageError as refusal:
            self._fail(ids, refusal)

    def _fail(self, ids: list[str], refusal: StorageError) -> None:
        for blob_id in ids:
            self._failures.setdefault(blob_id, refusal)


def _unlink_unless_open(blob_id: str, folder: int, *, force: bool) -> None:
    """Remove a file under an exclusive flock. Raises BlobBusy if a reader or writer on this node holds a lock."""
    if force:
        durable_files.remove(blob_id, within=folder)
        return
    try:
        descriptor = os.open(blob_id, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        durable_files.remove(blob_id, within=folder)  # a planted symbolic link: remove the link, not its target
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        durable_files.remove(blob_id, within=folder)
    except BlockingIOError:
        raise BlobBusy(f"a stream still has the blob {blob_id} open") from None
    finally:
        os.close(descriptor)


def _sync_folder(folder_name: str, root: int) -> None:
    with suppress(FileNotFoundError), opened_folder(folder_name, within=root) as folder:
        os.fsync(folder)


def _by_folder(blob_ids: Sequence[str]) -> dict[str, list[str]]:
    """Group the ids by the folders that may contain them, `incoming` first, so that a blob committed meanwhile is found
    in one of its two places.
    """
    places: dict[str, list[str]] = {INCOMING: list(blob_ids)}
    for blob_id in blob_ids:
        places.setdefault(folder_of(blob_id), []).append(blob_id)
    return places


def _among(blob_ids: list[str], folder: int) -> list[str]:
    """Return those of the ids that may be in an open folder; from LIST_FROM ids on, filtered by one listing."""
    if len(blob_ids) < LIST_FROM:
        return blob_ids
    wanted = set(blob_ids)
    with os.scandir(folder) as found:
        return [each.name for each in found if each.name in wanted]


def _blobs_in(folder_name: str, root: int) -> Iterator[StoredBlob]:
    """Yield the blobs of one folder; one that is deleted or committed meanwhile may be skipped."""
    complete = folder_name != INCOMING
    with suppress(FileNotFoundError), opened_folder(folder_name, within=root) as folder, os.scandir(folder) as found:
        for each in found:
            if not is_id(each.name) or (complete and folder_of(each.name) != folder_name):
                continue
            with suppress(FileNotFoundError):
                status = each.stat(follow_symlinks=False)
                last_write_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredBlob(each.name, status.st_size, last_write_at, complete)
