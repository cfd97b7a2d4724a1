"""The root folder of a key vault: which installation it belongs to, and the vault's marks.

Absence alone proves nothing, because an unmounted volume looks like a vault in which everything was destroyed. A result
counts only if the installation file beside it names this installation.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.storage import durable_files
from app.storage.durable_files import opened_folder
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import Mark, is_mark
from app.storage.place import Place, folder_place
from app.storage.shared_vault import MARKS_FOLDER, opened_marks

MARK_MAX_BYTES = 64 * 1024
KEPT_BYTES, KEPT_FILES = 1024 * 1024, 256
"""New entries leave this free on the volume, for marks and the records of claims: each is a file of one block."""
LOST_AND_FOUND = "lost+found"
_ROOT_FILES = (durable_files.INSTALLATION_FILE, durable_files.CACHE_TAG_FILE, LOST_AND_FOUND, MARKS_FOLDER)


def belongs_in_root(name: str) -> bool:
    """Return whether a file of this name belongs in a vault's root folder: its own files, or temporary ones of a writer
    that crashed.
    """
    bare = durable_files.without_temporary_suffix(name)
    return bare in _ROOT_FILES or is_mark(bare)


def has_room(root: int) -> bool:
    """Return whether the volume of the open root has room for new entries."""
    return durable_files.free_bytes(within=root) > KEPT_BYTES and durable_files.free_files(within=root) > KEPT_FILES


@contextmanager
def as_unavailable(doing: str) -> Iterator[None]:
    """Turn an OSError into VaultUnavailable; `doing` names the operation."""
    try:
        yield
    except OSError as error:
        raise VaultUnavailable(f"key vault, {doing}: {error.strerror or error}") from error


class VaultRoot:
    """The root folder at `root`; with `installation_id`, only of that installation's vault."""

    def __init__(self, root: Path, *, installation_id: str | None = None) -> None:
        """Store the arguments; nothing is created or opened before `adopt`."""
        self._path = root
        self._installation_id = installation_id

    def has_room(self) -> bool:
        """Return whether the volume has room for new entries. Raises VaultUnavailable."""
        with as_unavailable("free space"), self._opened() as root:
            return has_room(root)

    def place(self) -> Place:
        """Describe the vault's folder. Raises VaultUnavailable."""
        with as_unavailable("place"):
            return folder_place(self._path)

    def configuration_problems(self) -> list[str]:
        """Return nothing: a folder has no configuration. Its modes and volume are in `place`."""
        return []

    def close(self) -> None:
        """Do nothing: no descriptor stays open."""

    def content(self) -> str | None:
        """Return the name of something in the folder, None if it is missing or empty. Raises VaultUnavailable.

        Ignores the `lost+found` of a fresh volume, and an empty `marks/`: a scheduler makes it before it looks.
        """
        with as_unavailable("look"):
            try:
                with self._opened() as root, opened_marks(root) as marks, ExitStack() as stack:
                    listings = [stack.enter_context(os.scandir(folder)) for folder in (root, marks)]
                    names = {found.name for listing in listings for found in listing}
                    return min(names - {LOST_AND_FOUND, MARKS_FOLDER}, default=None)
            except FileNotFoundError:
                return None

    def installation(self) -> str | None:
        """Return the id in `<vault>/installation`, or None if there is no vault yet. Raises VaultUnavailable."""
        with as_unavailable("installation"):
            try:
                with self._opened() as root:
                    return durable_files.read_installation(within=root)
            except FileNotFoundError:
                if self._installation_id is None:
                    return None
                raise

    def adopt(self, installation_id: str) -> None:
        """Create the vault's folder, its backup exclusion tag and its installation file, unless they exist.

        Raises VaultUnavailable if the vault belongs to another installation, ValueError for a malformed id.
        """
        with as_unavailable("adopt"):
            durable_files.make_root(self._path)
            with self._opened() as root:
                if durable_files.adopt_installation(installation_id, within=root) != installation_id:
                    raise VaultUnavailable("the key vault belongs to another installation")
                durable_files.put_once(durable_files.CACHE_TAG_FILE, durable_files.CACHE_TAG, within=root)
        self._installation_id = installation_id

    def write_mark(self, text: str, mark: str = Mark.HIGH_WATER) -> None:
        """Replace `<vault>/high-water` or another mark atomically and durably. Raises ValueError above 64 KiB of UTF-8
        or for an unknown mark, VaultUnavailable.
        """
        content = text.encode()
        if len(content) > MARK_MAX_BYTES:
            raise ValueError("a mark is at most 64 KiB")
        if not is_mark(mark):
            raise ValueError("no mark has this name")
        with as_unavailable("write the mark"), self._opened() as root:
            self._prove(root)
            with opened_marks(root) as marks:
                durable_files.replace_file(mark, content, within=marks)

    def exchange_mark(self, before: str, after: str, mark: str = Mark.HIGH_WATER) -> bool:
        """Replace a mark if its text is still `before`; the caller excludes other writers. Return whether it was.
        Raises as `write_mark` and `read_mark`.
        """
        if self.read_mark(mark) != before:
            return False
        self.write_mark(after, mark)
        return True

    def read_mark(self, mark: str = Mark.HIGH_WATER) -> str | None:
        """Return the content of `<vault>/high-water` or another mark, or None if it was never written. None requires
        the installation file; an existing mark does not, because the purge needs it. Raises VaultUnavailable.
        """
        with as_unavailable("read the mark"), self._opened() as root:
            try:
                with opened_marks(root) as marks:
                    content = durable_files.read_file(mark, within=marks, max_bytes=MARK_MAX_BYTES)
            except FileNotFoundError:
                self._prove(root)
                return None
            self._refuse_foreign(root)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise VaultUnavailable(f"the vault's mark {mark} was altered") from None

    @contextmanager
    def _opened(self) -> Iterator[int]:
        # Reopened each time: a descriptor kept open would hide that the volume was unmounted.
        with opened_folder(self._path) as root:
            yield root

    def _prove(self, root: int) -> None:
        problem = durable_files.installation_problem(self._installation_id, within=root)
        if problem is not None:
            raise VaultUnavailable(f"this is not the key vault: {problem}")

    def _refuse_foreign(self, root: int) -> None:
        found = durable_files.read_installation(within=root)
        if self._installation_id is not None and found not in (None, self._installation_id):
            raise VaultUnavailable("the key vault belongs to another installation")
