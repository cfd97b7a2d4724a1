"""Which files a user means: files, and folders with everything in them."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from app.client.errors import NotSendable
from app.client.state import PendingFile
from app.domain.errors import InvalidFileName, InvalidFilePath
from app.domain.file_meta import FileMeta
from app.domain.transfer import checked_file_path

UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
"""Endings of files that another program is still writing."""

_OF_THE_SYSTEM = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_LOCKS = ("~$", ".~lock.", "._")
"""Beginnings of the lock files of Microsoft Office and LibreOffice, and of what macOS writes beside files."""


def collect(paths: Iterable[Path], left_out: Callable[[Path], None] = lambda _: None) -> list[PendingFile]:
    """Return the files below the paths, in the order given, each folder sorted. The files of a folder keep its name and
    those of the folders in it; paths that end in the same name keep the folder in front of it, too. Links are followed
    only where the user named them. `left_out` is told each file of a folder that belongs to the system or to a program
    that is writing; one that the user named is sent.

    Raises NotSendable for what is no regular file, cannot be read, has a name that no recipient could save, or appears
    twice; OSError.
    """
    named = [_named(path) for path in paths]
    count = Counter(path.name for path in named)
    found = [
        each for path in named for each in _below(path, _folder_of(path) if count[path.name] > 1 else "", left_out)
    ]
    if not found:
        raise NotSendable("there is no file to send")
    first: dict[str, PendingFile] = {}
    for file in found:
        if (other := first.setdefault(file.shown, file)) is not file:
            raise NotSendable(
                f"two files have the same name, in folders of the same name: {other.path} and {file.path}; rename one"
            )
    return found


def require_content(files: Iterable[PendingFile]) -> None:
    """Raise NotSendable if a file is empty: an export may have failed."""
    empty = [file.shown for file in files if not file.size]
    if empty:
        raise NotSendable(f"nothing was sent, because of empty files: {', '.join(empty)}; --allow-empty sends them")


def fingerprint(files: Iterable[PendingFile], recipients: Iterable[str]) -> str:
    """Return what is the same for the same files, unchanged, to the same recipients."""
    seen = [(file.path, file.size, file.changed_ns) for file in files]
    return hashlib.sha256(json.dumps([seen, sorted(recipients)]).encode()).hexdigest()[:32]


def is_left_out(name: str) -> bool:
    """Whether a file of a folder belongs to the system, or to a program that is writing."""
    lower = name.lower()
    return lower in _OF_THE_SYSTEM or lower.startswith(_LOCKS) or lower.endswith(UNFINISHED)


def _named(path: Path) -> Path:
    """Return a path that ends in the name of its file or folder: as the user wrote it, unless that is `.` or `..`."""
    if not path.exists():
        raise NotSendable(f"{path}: there is no such file")
    return path.resolve() if path.name in {"", ".."} else path


def _folder_of(path: Path) -> str:
    return path.parent.resolve().name


def _below(path: Path, above: str, left_out: Callable[[Path], None]) -> Iterator[PendingFile]:
    """Yield what is sent of a path, in the folder `above`."""
    if not path.is_dir():
        yield _file(path.resolve(), path.name, above)
        return
    name = f"{above}/{path.name}" if above else path.name
    for each, inside in sorted(_scanned(path.resolve(), name)):
        if is_left_out(each.name):
            left_out(each)
        else:
            yield _file(each, each.name, inside)


def _scanned(top: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the files below a folder, each with the folders above it, as the recipient gets them.

    A folder is checked before it is read, which also ends one that is nested too deep for the system's own functions.
    """
    left = [(top, name)]
    while left:
        folder, inside = left.pop()
        try:
            checked_file_path(inside)
        except InvalidFilePath as refusal:
            raise NotSendable(f"{folder}: {refusal} Send an archive (ZIP) of what is in it.") from None
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append((folder / entry.name, f"{inside}/{entry.name}" if inside else entry.name))
                elif entry.is_file(follow_symlinks=False):
                    yield folder / entry.name, inside
                else:
                    raise NotSendable(f"{folder / entry.name}: not a regular file; send what it points to instead")


def _file(path: Path, name: str, folders: str) -> PendingFile:
    media_type = mimetypes.guess_type(name)[0]
    try:
        FileMeta.checked(name, media_type, folders)
    except (InvalidFileName, InvalidFilePath):
        raise NotSendable(f"{path}: recipients could not save a file of this name") from None
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotSendable(f"{path}: not a regular file")
    with path.open("rb"):
        pass  # refused now rather than after the files before it were sent
    return PendingFile(str(path), name, media_type or "", status.st_size, status.st_mtime_ns, folders=folders)
