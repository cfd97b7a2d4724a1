"""The folders of the local blob store: opening them, proving that they belong to this store, and syncing them.

A blob is `incoming/<id>` while it is written and `<first two characters of the id>/<id>` once it is complete, so there
are at most 4,096 folders. The place follows from the id, so deletion needs no index.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.crypto.token import is_id
from app.storage import durable_files
from app.storage.durable_files import opened_folder
from app.storage.errors import BlobGone, BlobUnavailable, DiskNearlyFull, StorageError

INCOMING = "incoming"
PREFIX_LENGTH = 2

_FULL = (errno.ENOSPC, errno.EDQUOT)


def folder_of(blob_id: str) -> str:
    """Return the folder of a complete blob. Only this function turns an id into a path. Raises ValueError."""
    if not is_id(blob_id):
        raise ValueError("a blob is named by an id")
    return blob_id[:PREFIX_LENGTH]


def is_blob_path(path: Path) -> bool:
    """Return whether a store keeps a blob, complete or not, at the end of this path. Reads nothing."""
    return is_id(path.name) and path.parent.name in {folder_of(path.name), INCOMING}


@contextmanager
def as_unavailable(doing: str) -> Iterator[None]:
    """Turn an OSError into DiskNearlyFull or BlobUnavailable."""
    try:
        yield
    except OSError as error:
        raise unavailable(doing, error) from error


def unavailable(doing: str, error: OSError) -> StorageError:
    """Return the StorageError for an OSError: DiskNearlyFull or BlobUnavailable."""
    refusal = DiskNearlyFull if error.errno in _FULL else BlobUnavailable
    return refusal(f"blob store, {doing}: {error.strerror or error}")


class BlobFolders:
    """The folders of one store; with `installation_id`, only of that installation's store."""

    def __init__(self, root: Path, installation_id: str | None) -> None:
        """Store the path; nothing is opened."""
        self.path = root
        self.installation_id = installation_id
        self._durable: set[str] | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Open the root without `prove`. It is reopened on each call, so that an unmounted volume is noticed."""
        with opened_folder(self.path) as root:
            yield root

    @contextmanager
    def proved(self) -> Iterator[int]:
        """Open the root and `prove` it. Raises BlobUnavailable."""
        with self.opened() as root:
            self.prove(root)
            yield root

    def prove(self, root: int) -> None:
        """Raise BlobUnavailable unless the open root belongs to this store's installation."""
        problem = durable_files.installation_problem(self.installation_id, within=root)
        if problem is not None:
            raise BlobUnavailable(f"this is not the blob store: {problem}")

    def move_into_place(self, blob_id: str) -> None:
        """Durably rename a written and synced blob to its final place. Raises BlobGone if it was deleted."""
        prefix = folder_of(blob_id)
        with self.proved() as root:
            new = self._make_prefix(prefix, root)
            with opened_folder(INCOMING, within=root) as incoming, opened_folder(prefix, within=root) as final:
                try:
                    os.rename(blob_id, blob_id, src_dir_fd=incoming, dst_dir_fd=final)
                except FileNotFoundError:
                    raise BlobGone(f"the blob {blob_id} was deleted while it was written") from None
                os.fsync(final)
                os.fsync(incoming)
            if new:
                os.fsync(root)
                self._known(root).add(prefix)

    def _make_prefix(self, prefix: str, root: int) -> bool:
        """Make a folder unless it exists; return whether the root must still be synced for it."""
        made = durable_files.make_folder(prefix, within=root)
        return made or prefix not in self._known(root)

    def _known(self, root: int) -> set[str]:
        # Another process may have made a folder without syncing the root yet; one sync covers all existing folders.
        if self._durable is None:
            found = set(os.listdir(root))
            os.fsync(root)
            self._durable = found
        return self._durable
