"""Crash-safe small files, and folder operations that follow no planted symbolic links.

The key vault and the local blob store are built on these functions. Every name inside a store is relative to an open
folder (`within`, a file descriptor): a symbolic link planted in the store is refused, and a folder that is renamed or
unmounted meanwhile is never mistaken for another one. All functions raise OSError; the stores convert it to their own
errors. Durable means: fsync of the file, then of its folder (man 2 fsync).
"""

import ctypes
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_LIBC = ctypes.CDLL(None)

MANY, REMOVERS = 64, 6
"""Batches of MANY or more items are unlinked by REMOVERS threads."""

FILE_MODE = 0o600
FOLDER_MODE = 0o700

INSTALLATION_FILE = "installation"
INSTALLATION_MAX_BYTES = 128

# https://bford.info/cachedir/: the first 43 bytes are fixed; backup programs that support the tag skip the folder.
CACHE_TAG_FILE = "CACHEDIR.TAG"
CACHE_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# Key vault of a file transfer service. Deleting a transfer is destroying its key in here: a copy undoes deletions.
# See https://bford.info/cachedir/
"""


@contextmanager
def opened_folder(path: Path | str, *, within: int | None = None) -> Iterator[int]:
    """Open a folder and yield its descriptor; with `within`, a symbolic link is refused (OSError)."""
    follow = os.O_NOFOLLOW if within is not None else 0
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | follow, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(path: Path | str, *, within: int | None = None, group_writes: bool = False) -> bool:
    """Make a folder of mode 0700; return False if it exists. The caller syncs the parent.

    `within` a folder that a group shares, the group gets the same rights, and with `group_writes` all of them.
    """
    shared = _shared_bits(within) if within is not None else 0
    if shared and group_writes:
        shared = stat.S_IRWXG
    try:
        os.mkdir(path, FOLDER_MODE | shared, dir_fd=within)
    except FileExistsError:
        return False
    if shared and stat.S_IMODE(os.stat(path, dir_fd=within).st_mode) & stat.S_IRWXG != shared:  # the umask removed some
        os.chmod(path, stat.S_ISGID | FOLDER_MODE | shared, dir_fd=within)
    return True


def _shared_bits(folder: int) -> int:
    """Return the group's rights in an open folder that a group shares, which its setgid bit marks; 0 for any other.

    The folder decides, not the process: several users share a store (docs/operations.md), and a command that one of
    them runs without the service's settings must create files that the others can use.
    """
    mode = os.fstat(folder).st_mode
    return mode & stat.S_IRWXG if mode & stat.S_ISGID else 0


def make_root(path: Path) -> None:
    """Durably make a store's root and its missing parents; existing folders are left unchanged."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        make_folder(folder)
        with opened_folder(folder.parent) as above:
            os.fsync(above)


def open_file(name: str, *, within: int, to_write: bool = False) -> int:
    """Open a regular file and return its descriptor. A link, pipe or folder raises OSError."""
    # O_NONBLOCK: a pipe planted under this name must not hang the service.
    descriptor = os.open(name, (os.O_RDWR if to_write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return descriptor


def read_file(name: str, *, within: int, max_bytes: int) -> bytes:
    """Return a small file's content. Raises OSError if it is longer than `max_bytes`, FileNotFoundError if absent."""
    descriptor = open_file(name, within=within)
    try:
        content = os.read(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise OSError(f"{name} is longer than {max_bytes} bytes")
    return content


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`; one write(2) may write fewer bytes than requested."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def create_file(name: str, *, within: int, private: bool = False) -> int:
    """Create an empty file and return its descriptor for writing. Raises FileExistsError.

    Its mode is 0600, or 0640 or 0660 in a folder that a group may read or write, unless it is `private`.
    """
    shared = 0 if private else _shared_bits(within) & ~stat.S_IXGRP
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE, dir_fd=within)
    if shared:
        os.fchmod(descriptor, FILE_MODE | shared)  # whatever the umask
    return descriptor


def write_new(name: str, content: bytes | memoryview, *, within: int, private: bool = False) -> None:
    """Write and fsync a new file of the mode that `create_file` chooses; a failure leaves no file. Raises
    FileExistsError.

    The caller syncs the folder, once for all its changes there.
    """
    descriptor = create_file(name, within=within, private=private)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=within)
        raise
    finally:
        os.close(descriptor)


def put_once(name: str, content: bytes, *, within: int, private: bool = False) -> bool:
    """Create a file atomically and durably; return False if it exists or another writer was first.

    link(2) decides: exactly one process creates the name, and no reader sees a partial file. If the file exists,
    nothing is written, so that a store on a full or read-only volume can still be opened.
    """
    if is_there(name, within=within):
        return False
    temporary = _temporary_name(name)
    write_new(temporary, content, within=within, private=private)
    try:
        os.link(temporary, name, src_dir_fd=within, dst_dir_fd=within)
        first = True
    except FileExistsError:
        first = False
    finally:
        os.unlink(temporary, dir_fd=within)
    os.fsync(within)
    return first


def replace_file(name: str, content: bytes, *, within: int) -> None:
    """Replace a file's content atomically and durably: readers see the old or the new content, even after a crash."""
    temporary = _temporary_name(name)
    write_new(temporary, content, within=within)
    try:
        os.rename(temporary, name, src_dir_fd=within, dst_dir_fd=within)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=within)
        raise
    os.fsync(within)


def free_bytes(*, within: int) -> int:
    """Return how many bytes an unprivileged process can still write to the volume of an open folder."""
    volume = os.fstatvfs(within)
    return volume.f_bavail * volume.f_frsize


def free_files(*, within: int) -> float:
    """Return how many files an unprivileged process can still create on the volume; some file systems have no limit."""
    volume = os.fstatvfs(within)
    return volume.f_favail if volume.f_files else math.inf


def sync_volume(*, within: int) -> bool:
    """Make all changes on the volume of an open folder durable (syncfs(2)). Return False if that failed or the call
    does not exist; the caller then syncs each folder, which also identifies the one that fails.
    """
    syncfs = getattr(_LIBC, "syncfs", None)
    return syncfs is not None and syncfs(within) == 0


def remove(name: str, *, within: int) -> bool:
    """Remove a file or an empty folder; return False if it does not exist. The caller syncs the parent."""
    try:
        os.unlink(name, dir_fd=within)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        os.rmdir(name, dir_fd=within)
    return True


def at_once(act: Callable[[Sequence[T]], None], items: Sequence[T]) -> None:
    """Call `act` on the items: on batches of MANY or more in REMOVERS threads, each on its part, because unlinking
    mostly waits in the kernel (docs/performance.md).
    """
    if len(items) < MANY:
        act(items)
        return
    with ThreadPoolExecutor(REMOVERS) as pool:
        list(pool.map(act, [items[first::REMOVERS] for first in range(REMOVERS)]))


def is_there(name: str, *, within: int) -> bool:
    """Return whether the name exists in a folder, for any type of file."""
    try:
        os.stat(name, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_installation(*, within: int) -> str | None:
    """Return the id of the installation that a store belongs to, or None for a store without one."""
    try:
        content = read_file(INSTALLATION_FILE, within=within, max_bytes=INSTALLATION_MAX_BYTES)
    except FileNotFoundError:
        return None
    return content.decode("ascii", "backslashreplace").strip() or None


def is_installation_id(text: str) -> bool:
    """Return whether a store can be marked with this id: one word of printable ASCII of at most 127 characters."""
    one_word = text.isascii() and text.isprintable() and " " not in text
    return bool(text) and one_word and len(text) < INSTALLATION_MAX_BYTES


def adopt_installation(installation_id: str, *, within: int) -> str:
    """Durably write the installation id unless the store has one; return the store's id.

    Raises ValueError for an id that is not one word of printable ASCII of at most 127 characters.
    """
    if not is_installation_id(installation_id):
        raise ValueError("an installation id is one short word of ASCII")
    if read_installation(within=within) is None:
        put_once(INSTALLATION_FILE, f"{installation_id}\n".encode("ascii"), within=within)
    return read_installation(within=within) or ""


def installation_problem(expected: str | None, *, within: int) -> str | None:
    """Describe why this folder is not the expected store, or return None.

    An unmounted volume leaves an empty mount point: without this check, a missing key would be taken for a destroyed
    one.
    """
    found = read_installation(within=within)
    if found is None:
        return "it has no installation file: not mounted, or not set up"
    if expected is not None and found != expected:
        return "it belongs to another installation"
    return None


_TEMPORARY = re.compile(r"(.+)\.[0-9a-f]{16}\.new", re.ASCII)


def _temporary_name(name: str) -> str:
    return f"{name}.{secrets.token_hex(8)}.new"


def without_temporary_suffix(name: str) -> str:
    """Return the final name of a temporary file, whose writer is unfinished or crashed; any other name unchanged."""
    temporary = _TEMPORARY.fullmatch(name)
    return temporary[1] if temporary else name
