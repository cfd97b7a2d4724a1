"""Small files that survive a crash, and folders that cannot be led astray.

The key vault and the local blob store stand on these functions. Everything inside a store is named relative to an open
folder (`within`, a file descriptor): a symbolic link planted in the store is refused, and a folder that is renamed or
unmounted meanwhile is never mistaken for another one. All functions raise OSError; the stores turn it into their own
refusals. Durable means: fsync of the file, then of the folder that names it (man 2 fsync).
"""

import ctypes
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
"""From so many on, so many threads remove them."""

FILE_MODE = 0o600
FOLDER_MODE = 0o700

INSTALLATION_FILE = "installation"
INSTALLATION_MAX_BYTES = 128

# https://bford.info/cachedir/: the first 43 bytes are fixed; backup programs that know them leave the folder out.
CACHE_TAG_FILE = "CACHEDIR.TAG"
CACHE_TAG = b"""Signature: 8a477f597d28d172789f06886806bc55
# Key vault of a file transfer service. Deleting a transfer is destroying its key in here: a copy undoes deletions.
# See https://bford.info/cachedir/
"""


@contextmanager
def opened_folder(path: Path | str, *, within: int | None = None) -> Iterator[int]:
    """Open a folder and yield its descriptor; below another folder (`within`) a symbolic link is refused."""
    follow = os.O_NOFOLLOW if within is not None else 0
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | follow, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(path: Path | str, *, within: int | None = None) -> bool:
    """Make a folder of mode 0700; returns False when it was there. The caller syncs the folder above."""
    try:
        os.mkdir(path, FOLDER_MODE, dir_fd=within)
    except FileExistsError:
        return False
    return True


def make_root(path: Path) -> None:
    """Make a store's root, and the folders above it, durably; an existing one is left as it is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        make_folder(folder)
        with opened_folder(folder.parent) as above:
            os.fsync(above)


def open_file(name: str, *, within: int) -> int:
    """Open a regular file for reading and return its descriptor; a link, pipe or folder of that name is an OSError."""
    # O_NONBLOCK: a pipe planted under this name must not hang the service.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return descriptor


def read_file(name: str, *, within: int, max_bytes: int) -> bytes:
    """Return a small file's content; longer than `max_bytes` is an OSError, absent a FileNotFoundError."""
    descriptor = open_file(name, within=within)
    try:
        content = os.read(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise OSError(f"{name} is longer than {max_bytes} bytes")
    return content


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte: one write(2) may take fewer than it was given."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def create_file(name: str, *, within: int) -> int:
    """Make an empty file of mode 0600 and return its descriptor for writing; an existing one is a FileExistsError."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE, dir_fd=within)


def write_new(name: str, content: bytes | memoryview, *, within: int) -> None:
    """Write and fsync a new file of mode 0600; an existing one is a FileExistsError, a failure leaves none.

    The caller syncs the folder, once for all it changed there.
    """
    descriptor = create_file(name, within=within)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=within)
        raise
    finally:
        os.close(descriptor)


def put_once(name: str, content: bytes, *, within: int) -> bool:
    """Make a file appear whole and durable, exactly once; returns False when another writer was first.

    link(2) is the judge: of any number of processes one makes the name, and nobody ever reads half a file. Where it is
    there, nothing is written: a full or read-only volume must keep nobody from opening what is on it.
    """
    if is_there(name, within=within):
        return False
    temporary = _temporary_name(name)
    write_new(temporary, content, within=within)
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
    """Replace a file's content durably: a reader, or a crash at any instant, finds the old or the new one whole."""
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
    """Return how many bytes an unprivileged writer may still put on the volume of an open folder."""
    volume = os.fstatvfs(within)
    return volume.f_bavail * volume.f_frsize


def sync_volume(*, within: int) -> bool:
    """Make durable what changed anywhere on the volume of an open folder (syncfs(2)). False when it failed, or where
    there is no such call: sync the folders one by one then, which says which of them fails.
    """
    syncfs = getattr(_LIBC, "syncfs", None)
    return syncfs is not None and syncfs(within) == 0


def remove(name: str, *, within: int) -> bool:
    """Remove a file, or an empty folder; returns False when it was not there. The caller syncs the folder."""
    try:
        os.unlink(name, dir_fd=within)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        os.rmdir(name, dir_fd=within)
    return True


def at_once(act: Callable[[Sequence[T]], None], items: Sequence[T]) -> None:
    """Have a few threads act on many items, each on its part of them. A removal waits in the kernel for most of its
    time, and a few that wait together take less than half as long (docs/performance.md).
    """
    if len(items) < MANY:
        act(items)
        return
    with ThreadPoolExecutor(REMOVERS) as pool:
        list(pool.map(act, [items[first::REMOVERS] for first in range(REMOVERS)]))


def is_there(name: str, *, within: int) -> bool:
    """Look whether a folder names this, whatever it is."""
    try:
        os.stat(name, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_installation(*, within: int) -> str | None:
    """Return the id of the installation that a store belongs to, or None for a store that nobody adopted yet."""
    try:
        content = read_file(INSTALLATION_FILE, within=within, max_bytes=INSTALLATION_MAX_BYTES)
    except FileNotFoundError:
        return None
    return content.decode("ascii", "backslashreplace").strip() or None


def adopt_installation(installation_id: str, *, within: int) -> str:
    """Write the installation id durably unless the store has one; returns the id that is there now.

    Raises ValueError for an id that is not one word of printable ASCII, 127 characters at most.
    """
    one_word = installation_id.isascii() and installation_id.isprintable() and " " not in installation_id
    if not installation_id or not one_word or len(installation_id) >= INSTALLATION_MAX_BYTES:
        raise ValueError("an installation id is one short word of ASCII")
    if read_installation(within=within) is None:
        put_once(INSTALLATION_FILE, f"{installation_id}\n".encode("ascii"), within=within)
    return read_installation(within=within) or ""


def installation_problem(expected: str | None, *, within: int) -> str | None:
    """Say why this folder is not the store it should be, or return None.

    What is left of a mount point after its volume is gone is an empty folder: without this check "the key is not
    there" would be read as "the key was destroyed".
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
    """Return the name that a file was to get whose writer has not finished, or crashed; any other name as it is."""
    temporary = _TEMPORARY.fullmatch(name)
    return temporary[1] if temporary else name
