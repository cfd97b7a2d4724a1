"""Gives fetched files their places below the recipient's folder: never outside it, through a link, or over a file.

Each folder is entered from the open one above it, so that nothing that is moved or linked meanwhile leads elsewhere.
Windows cannot open folders so: there each is checked by its path.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_NO_FOLDER = frozenset({errno.ENOTDIR, errno.ELOOP})
"""Errors for what stands in a folder's place: a file, or a link, also one to a folder."""


class Folder:
    """A folder, held open where the system allows it. A context manager."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        """Take over the descriptor: an open folder, or None on Windows."""
        self.path, self._descriptor = path, descriptor

    @classmethod
    def entered(cls, top: Path, names: Iterable[str]) -> Folder:
        """Enter a folder below `top`, the recipient's own, name by name. Raises OSError."""
        folder = cls(top, _opened(str(top.resolve()), None))
        for name in names:
            with folder:
                folder = folder.below(name)
        return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def below(self, name: str) -> Folder:
        """Return the folder of that name in this one, made unless it exists. If a file or a link stands there, the
        folder is called `name (2)`. Raises OSError.
        """
        for candidate in _numbered(name):
            with suppress(FileExistsError):
                os.mkdir(self._named(candidate), 0o700, dir_fd=self._descriptor)
                self._sync()
            try:
                return Folder(self.path / candidate, _opened(self._named(candidate), self._descriptor))
            except OSError as error:
                if error.errno not in _NO_FOLDER:
                    raise
        raise AssertionError("names do not end")

    def free(self, name: str) -> Iterator[Path]:
        """Yield the paths `name.ext`, `name (2).ext`, ... in this folder, as far as they are not taken."""
        return (self.path / each for each in _numbered(name) if not os.path.lexists(self.path / each))

    def put(self, part: Path, name: str) -> bool:
        """Give a whole file its name here, durably; return False if the name was taken meanwhile. Raises OSError."""
        try:
            os.link(part, self._named(name), dst_dir_fd=self._descriptor)
        except FileExistsError:
            return False
        except OSError:
            if not self._put_without_links(part, name):
                return False
        else:
            part.unlink()
        self._sync()  # before the service is told that the file has arrived
        return True

    def _put_without_links(self, part: Path, name: str) -> bool:
        """Do the same on a file system without hard links."""
        named, at = self._named(name), self._descriptor
        try:
            os.close(os.open(named, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at))
        except FileExistsError:
            return False
        try:
            os.replace(part, named, dst_dir_fd=at)
        except OSError:
            os.unlink(named, dir_fd=at)
            raise
        return True

    def _named(self, name: str) -> str:
        return name if self._descriptor is not None else str(self.path / name)

    def _sync(self) -> None:
        """Make the names in this folder durable; Windows has no call for it."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)


def _numbered(name: str) -> Iterator[str]:
    path = Path(name)
    return itertools.chain([name], (f"{path.stem} ({count}){path.suffix}" for count in itertools.count(2)))


if sys.platform == "win32":

    def _opened(path: str, _above: int | None) -> int | None:
        """Return None. Raises NotADirectoryError for what is no folder, or a link or junction to one."""
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", path)
else:

    def _opened(path: str, above: int | None) -> int | None:
        """Open a folder below the open one `above`. Raises OSError for what is no folder, or a link to one."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
