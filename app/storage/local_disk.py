"""The blob store on a local disk: finding, deleting and listing blobs; one blob's life is in `local_blob.py`.

As in the vault, "not there" counts only beside the installation file: the empty mount point that an unmounted volume
leaves is no proof of deletion.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from app.crypto.token import is_id
from app.storage import durable_files, local_blob
from app.storage.blob_folders import INCOMING, PREFIX_LENGTH, BlobFolders, as_unavailable, folder_of, unavailable
from app.storage.blob_store import StoredBlob
from app.storage.durable_files import opened_folder
from app.storage.errors import BlobBusy, BlobUnavailable, StorageError
from app.storage.local_blob import LocalBlobReader, LocalBlobWriter
from app.storage.place import Place, folder_place

SYNC_VOLUME_FROM = 64
"""So many folders are synced with their whole volume: a millisecond each is more than all of it at once takes, even
beside uploads whose bytes are then written out too. Random ids lie in a folder each.
"""


LIST_FROM = 64
"""So many blobs are looked for among those that are coming in by listing these."""


class LocalDisk:
    """A blob store below `root` that keeps `min_free_bytes` of its volume free. `threads` sync small blobs."""

    def __init__(
        self,
        root: Path,
        *,
        min_free_bytes: int,
        installation_id: str | None = None,
        threads: Executor | None = None,
    ) -> None:
        """Take the place only: nothing is made or opened before `adopt`."""
        self._threads = threads
        self._folders = BlobFolders(root, installation_id)
        self._min_free_bytes = min_free_bytes

    async def create(self, blob_id: str) -> LocalBlobWriter:
        """Begin a new blob. Raises DiskNearlyFull, BlobUnavailable (also when the id is taken), ValueError."""
        return local_blob.begin(self._folders, blob_id, min_free_bytes=self._min_free_bytes, threads=self._threads)

    async def open(self, blob_id: str) -> LocalBlobReader:
        """Open a committed blob. Raises BlobGone, BlobUnavailable, ValueError."""
        return local_blob.open_blob(self._folders, blob_id)

    async def delete(self, blob_ids: Sequence[str], *, force: bool = False) -> dict[str, StorageError]:
        """Remove blobs, written or being written, in one thread with one sync per folder touched, or one for all.

        Returns BlobBusy or BlobUnavailable for each blob not known to be gone. Raises ValueError for a bad id, before
        anything is touched. With `force`, open streams go on reading bytes without a name; a writer cannot commit.
        """
        deletion = _Deletion(self._folders, blob_ids, force=force)
        return await asyncio.to_thread(deletion.run)

    async def exists(self, blob_id: str) -> bool:
        """Look for the blob, complete or not; BlobUnavailable when that cannot be told."""
        return bool(self._look_for([blob_id]))

    async def present(self, blob_ids: Sequence[str]) -> set[str]:
        """Look which of these are stored, complete or not, in one thread; BlobUnavailable when that cannot be told."""
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
        """Stream all blobs in constant memory; BlobUnavailable rather than an incomplete list.

        Incoming ones come first, so that a blob committed meanwhile is met at least once. Files that are not named
        by an id, or lie in another id's folder, are passed over.
        """
        with as_unavailable("listing"), self._folders.proved() as root:
            yield from _blobs_in(INCOMING, root)
            with os.scandir(root) as found:
                prefixes = [each.name for each in found if len(each.name) == PREFIX_LENGTH]
            for prefix in prefixes:
                yield from _blobs_in(prefix, root)

    def place(self) -> Place:
        """Describe the store's folder. Raises BlobUnavailable."""
        with as_unavailable("place"):
            return folder_place(self._folders.path)

    def free_bytes(self) -> int:
        """Return how many bytes an unprivileged writer can still put on the volume. Raises BlobUnavailable."""
        with as_unavailable("free space"), self._folders.opened() as root:
            return durable_files.free_bytes(within=root)

    def installation(self) -> str | None:
        """Return the id in `<blobs>/installation`; None when there is no store yet, unless one was expected."""
        with as_unavailable("installation"):
            try:
                with self._folders.opened() as root:
                    return durable_files.read_installation(within=root)
            except FileNotFoundError:
                if self._folders.installation_id is None:
                    return None
                raise

    def adopt(self, installation_id: str) -> None:
        """Make the store's folders and its installation file, each unless it is there.

        Raises BlobUnavailable when the store belongs to another installation, ValueError for an unfit id.
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
    """One batch of blobs on its way out."""

    def __init__(self, folders: BlobFolders, blob_ids: Sequence[str], *, force: bool) -> None:
        self._folders = folders
        self._force = force
        self._places = _by_folder(blob_ids)
        self._failures: dict[str, StorageError] = {}

    def run(self) -> dict[str, StorageError]:
        """Unlink all, then sync all: each folder, or the volume if there are many."""
        try:
            with as_unavailable("delete"), self._folders.opened() as root:
                coming, *others = self._places
                self._unlink([coming], root)  # first: what moves meanwhile from there to its own folder is met in it
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
    """Remove a file under its own lock; BlobBusy when a reader or writer on this node holds one."""
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
        durable_files.remove(blob_id, within=folder)  # a planted link: only its name is removed
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
    """Where each may lie. In the order of its life: a name that moves from the first folder to its own meanwhile is met
    in one of them.
    """
    places: dict[str, list[str]] = {INCOMING: list(blob_ids)}
    for blob_id in blob_ids:
        places.setdefault(folder_of(blob_id), []).append(blob_id)
    return places


def _among(blob_ids: list[str], folder: int) -> list[str]:
    """Which of these ids may be in an open folder that has few of them: for many, by one listing, not a look each."""
    if len(blob_ids) < LIST_FROM:
        return blob_ids
    wanted = set(blob_ids)
    with os.scandir(folder) as found:
        return [each.name for each in found if each.name in wanted]


def _blobs_in(folder_name: str, root: int) -> Iterator[StoredBlob]:
    """Stream the blobs of one folder; one that is deleted or committed meanwhile is passed over here."""
    complete = folder_name != INCOMING
    with suppress(FileNotFoundError), opened_folder(folder_name, within=root) as folder, os.scandir(folder) as found:
        for each in found:
            if not is_id(each.name) or (complete and folder_of(each.name) != folder_name):
                continue
            with suppress(FileNotFoundError):
                status = each.stat(follow_symlinks=False)
                last_write_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredBlob(each.name, status.st_size, last_write_at, complete)
