"""Files that survive a power cut, moves that do, and locks that end with their process."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.client.errors import InUse


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file of mode 0600 atomically: after a power cut it holds the old content or the new one. What others
    put in the new one's place is not written to.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder of mode 0700, and its parents, durably; keep one that exists."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def move_durably(source: Path, target: Path) -> None:
    """Rename a file. `target` must not exist: a POSIX rename would replace it."""
    source.rename(target)
    for folder in {source.parent, target.parent}:
        sync_folder(folder)


def remove_durably(path: Path) -> None:
    """Remove a file; one that does not exist is removed."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows has no call for it."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor. A symbolic link is not followed, and a pipe is not
    waited for; Windows has neither flag, and creates links only for administrators. Raises OSError.
    """
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[int]:
    """Hold a lock that ends with this process, and yield the lock file's descriptor. Raises InUse with the text;
    OSError for a link to another file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if not stat.S_ISREG((found := os.fstat(descriptor)).st_mode) or found.st_nlink > 1:
            raise OSError(errno.EPERM, "is no lock file of its own", str(path))
        try:
            _lock(descriptor)
        except OSError:
            raise InUse(refusal) from None
        yield descriptor
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
