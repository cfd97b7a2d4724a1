"""Which files a user means: files, and folders with everything in them."""

from __future__ import annotations

import mimetypes
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.client.errors import NotSendable
from app.client.state import PendingFile
from app.domain.errors import InvalidFileName
from app.domain.file_meta import FileMeta


def collect(paths: Iterable[Path]) -> list[PendingFile]:
    """Return the files below the paths, in the order given, each folder sorted. Links are followed only where the user
    named them.

    Raises NotSendable for what is no regular file, cannot be read, has a name that no recipient could save, or appears
    twice; OSError.
    """
    found = [each for path in paths for each in _below(path)]
    if not found:
        raise NotSendable("there is no file to send")
    names = [file.name for file in found]
    if len(set(names)) != len(names):
        raise NotSendable(
            "two files have the same name, and folders are not sent along: rename one, or send an archive"
        )
    return found


def _below(path: Path) -> Iterator[PendingFile]:
    if not path.exists():
        raise NotSendable(f"{path}: there is no such file")
    if not path.is_dir():
        yield _file(path.resolve(), path.name)
        return
    top = path.resolve()
    for each in sorted(top.rglob("*")):
        mode = each.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise NotSendable(f"{each}: not a regular file; send what it points to instead")
        yield _file(each, each.name)


def _file(path: Path, name: str) -> PendingFile:
    media_type = mimetypes.guess_type(name)[0]
    try:
        FileMeta.checked(name, media_type)
    except InvalidFileName:
        raise NotSendable(f"{path}: recipients could not save a file of this name") from None
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotSendable(f"{path}: not a regular file")
    with path.open("rb"):
        pass  # refused now rather than after the files before it were sent
    return PendingFile(str(path), name, media_type or "", status.st_size, status.st_mtime_ns)
