"""A file that a command writes for its caller: complete or not at all, and the caller's.

It is written beside its name and renamed once the command has succeeded, so that a refused command leaves what was
there before. Root hands over to the service's user meanwhile and could no longer rename it; a child process, which
stays root, does. Under sudo, a file that did not exist before is given to the user behind sudo.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.runtime.hand_over import ROOT
from app.terminal.console import say

Write = Callable[[str], None]

_COMMIT = b"c"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileNotWritten(Exception):
    """The file was written, but could not be given its name."""


@contextmanager
def caller_file(path: Path | None) -> Iterator[Write]:
    """Open a file before the installation, and yield what appends text to it; without a path, that does nothing.

    The file gets its name when the block ends without an exception. Raises OSError, FileNotWritten.
    """
    if path is None:
        yield lambda _text: None
        return
    if _is_special(path):
        with path.open("w", encoding="utf-8") as stream:
            yield lambda text: _append(stream.fileno(), text)
        return
    with _opened(path) as (descriptor, commit):
        yield lambda text: _append(descriptor, text)
        os.fsync(descriptor)
        commit()
    say(f"written to {path}")


def _is_special(path: Path) -> bool:
    """Return whether the path is something else than a file or nothing, such as a pipe or /dev/stdout: it is written
    where it is, and keeps its owner. Raises IsADirectoryError; OSError for a link, which could lead root anywhere.
    """
    if path.is_dir():
        raise IsADirectoryError(None, "is a folder", str(path))
    if path.is_symlink() and not path.is_relative_to("/dev") and not path.is_relative_to("/proc"):
        raise OSError(errno.ELOOP, "is a link: name the file that it leads to", str(path))
    with suppress(FileNotFoundError):
        return not stat.S_ISREG(path.lstat().st_mode)
    return False


def _append(descriptor: int, text: str) -> None:
    data = memoryview(text.encode())
    while data:
        data = data[os.write(descriptor, data) :]


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """A file beside the one to be written, in the folder that is open as `folder`."""

    folder: int
    name: str
    final: str

    def commit(self) -> None:
        os.rename(self.name, self.final, src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def discard(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.folder)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, Callable[[], None]]]:
    """Yield the descriptor of a new file, and what gives it the name; without that, it is removed."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = _Unnamed(folder, f".{path.name[:100]}.{secrets.token_hex(8)}.part", path.name)
        descriptor = os.open(file.name, _NEW, 0o600, dir_fd=folder)
        try:
            with _renaming(file) as commit:
                _give_to_caller(descriptor, file)
                yield descriptor, commit
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.filename is None or not str(error.filename).endswith(".part"):
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(folder)


@contextmanager
def _renaming(file: _Unnamed) -> Iterator[Callable[[], None]]:
    """Yield what renames the file: this process or, since root hands over, its child. Otherwise remove the file."""
    committed = False

    def once(commit: Callable[[], None]) -> None:
        nonlocal committed
        commit()
        committed = True

    if os.geteuid() != ROOT:
        try:
            yield lambda: once(file.commit)
        finally:
            if not committed:
                file.discard()
        return
    child = _Renamer(file)
    try:
        yield lambda: once(child.commit)
    finally:
        child.end()


class _Renamer:
    """A child process that stays root and can do one thing: give the file its name. If it is never told to, or its
    parent dies, it removes the file.
    """

    def __init__(self, file: _Unnamed) -> None:
        self._name = file.final
        theirs, self._order = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._order)
            os._exit(_rename_on_order(file, theirs))
        os.close(theirs)
        self._ended = False

    def commit(self) -> None:
        """Give the file its name. Raises FileNotWritten."""
        with suppress(BrokenPipeError):
            os.write(self._order, _COMMIT)
        if self.end() != 0:
            raise FileNotWritten(f"{self._name} could not be written")

    def end(self) -> int:
        """End the child, and return its exit code."""
        if self._ended:
            return 0
        self._ended = True
        os.close(self._order)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _rename_on_order(file: _Unnamed, order: int) -> int:
    """Wait for the order, in the child. Return its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # its parent's end is what counts
    try:
        if os.read(order, 1) == _COMMIT:
            file.commit()
            return 0
        file.discard()
    except OSError:
        with suppress(OSError):
            file.discard()
    return 1


def _give_to_caller(descriptor: int, file: _Unnamed) -> None:
    """Give a new file to the user behind sudo; one that replaces a file gets the owner and the mode of that file. By
    the open descriptor: no link is followed.
    """
    with suppress(FileNotFoundError):
        before = os.stat(file.final, dir_fd=file.folder, follow_symlinks=False)
        if os.geteuid() == ROOT:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)
        return
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == ROOT and all(each.isascii() and each.isdecimal() for each in (user, group)):
        os.fchown(descriptor, int(user), int(group))
