"""A watched folder: which files in `out` are ready to be sent, and where they go afterwards.

    out/      files to be sent; NAME.ok beside NAME declares it complete
    sent/     files that were sent, and whose link and password were handed over
    failed/   files that can never be sent, each with NAME.error.json
    reports/  a JSON file for each run

It is polled: network shares send no events.
"""

from __future__ import annotations

import itertools
import json
import mimetypes
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.client.collecting import is_left_out
from app.client.durable import make_folder, move_durably, open_regular, remove_durably, write_durably
from app.client.errors import NotConfigured, NotSendable
from app.domain.errors import InvalidFileName
from app.domain.file_meta import FileMeta

COMPANION = ".ok"
ERROR = ".error.json"
_MAX_NAME_BYTES = 250
"""What file systems allow, with room for the ending of a file that is being written."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from another one of its name: size in bytes, time of change (ns), device and inode."""

    size: int
    changed_ns: int
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Identity:
        """Read it, without following a link. Raises OSError."""
        found = path.lstat()
        return cls(found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)

    def is_same(self, other: Identity) -> bool:
        """Whether it is the same file; inodes are compared on the same device only: mounting a share again may change
        the device, and then the inode.
        """
        unchanged = (self.size, self.changed_ns) == (other.size, other.changed_ns)
        return unchanged and (self.device != other.device or self.inode == other.inode)


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """A file that may be sent: its name, and what it was when it was found."""

    name: str
    media_type: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at the folder found: files to send, files that can never be sent, and how many are not ready."""

    ready: list[ReadyFile]
    unsendable: list[tuple[ReadyFile, NotSendable]]
    unsettled: int


class WatchedFolder:
    """The folder, and since when each file in `out` has been what it is."""

    def __init__(self, root: Path, *, settle_seconds: float) -> None:
        """`root` exists; create what is missing in it. Raises NotConfigured for folders between which files cannot be
        renamed; OSError.
        """
        self.root = root
        self.out, self.sent, self.failed, self.reports = (
            self.root / name for name in ("out", "sent", "failed", "reports")
        )
        self._settle, self._seen = settle_seconds, dict[str, tuple[object, float]]()
        for folder in (self.out, self.sent, self.failed, self.reports):
            make_folder(folder)
            if folder.is_symlink() or folder.lstat().st_dev != self.out.lstat().st_dev:
                raise NotConfigured(f"{folder}: must be a folder on the same volume as {self.out}")

    def look(self, now: float) -> Finding:
        """Return what `out` holds at `now`, a monotonic time in seconds. Raises OSError."""
        finding, seen = Finding([], [], 0), dict[str, tuple[object, float]]()
        unsettled = 0
        names = sorted(path.name for path in self.out.iterdir())
        for name in (each for each in names if not _is_ignored(each)):
            try:
                found = (self.out / name).lstat()
            except FileNotFoundError:
                continue
            state = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode, found.st_nlink)
            was, since = self._seen.get(name, (None, now))
            seen[name] = (state, since if was == state else now)
            if not (now - seen[name][1] >= self._settle or self._is_declared(name, found)):
                unsettled += 1
                continue
            self._sort(name, found, finding)
        self._seen = seen
        return Finding(finding.ready, finding.unsendable, unsettled)

    def _sort(self, name: str, found: os.stat_result, finding: Finding) -> None:
        media_type = mimetypes.guess_type(name)[0] or ""
        identity = Identity(found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)
        file = ReadyFile(name, media_type, identity)
        try:
            _require_sendable(self.out / name, found, media_type)
        except FileNotFoundError:
            return
        except NotSendable as reason:
            finding.unsendable.append((file, reason))
        else:
            finding.ready.append(file)

    def _is_declared(self, name: str, found: os.stat_result) -> bool:
        """Whether a companion that is not older than the file declares it complete."""
        with suppress(OSError):
            companion = (self.out / f"{name}{COMPANION}").lstat()
            return stat.S_ISREG(companion.st_mode) and companion.st_mtime_ns >= found.st_mtime_ns
        return False

    def holds(self, name: str, identity: Identity) -> bool:
        """Whether this very file still lies in `out`."""
        with suppress(FileNotFoundError):
            return Identity.of(self.out / name).is_same(identity)
        return False

    def place(self, name: str, identity: Identity, target: Path) -> bool:
        """Move this very file to `target`, its companion first, so that none is left to declare a later file complete.
        Return False if it lies neither here nor there; what took its name stays in `out`. Raises OSError.
        """
        if not self.holds(name, identity):
            with suppress(FileNotFoundError):
                return Identity.of(target).is_same(identity)
            return False
        companion, target = self.out / f"{name}{COMPANION}", free(target)
        if os.path.lexists(companion):
            move_durably(companion, free(target.with_name(companion.name)))
        move_durably(self.out / name, target)
        if Identity.of(target).is_same(identity):
            return True
        move_durably(target, free(self.out / name))  # it was replaced between the last look and the move
        return False

    def reject(self, file: ReadyFile, reason: NotSendable, at: str) -> bool:
        """Move a file to `failed`, with the reason beside it; return False if it is not there any more."""
        if not self.holds(file.name, file.identity):
            return False
        target = free(self.failed / file.name, beside=ERROR)
        error = {"name": file.name, "code": reason.code, "detail": str(reason), "at": at}
        beside = target.with_name(_fitted(target.name, ERROR))
        write_durably(beside, as_json(error))
        try:
            return self.place(file.name, file.identity, target)
        except OSError:
            remove_durably(beside)
            raise


def free(path: Path, *, beside: str = "") -> Path:
    """Return `name.ext`, `name (2).ext`, ..., the first one that is not taken, alone or with the ending `beside`."""
    for count in itertools.count(1):
        name = path.name if count == 1 else _fitted(path.stem, f" ({count}){path.suffix}")
        target = path.with_name(name)
        if not any(os.path.lexists(path.with_name(each)) for each in (name, _fitted(name, beside))):
            return target
    raise AssertionError("names do not end")


def as_json(document: object) -> bytes:
    """Return a document for people and programs; bytes of a name that are not UTF-8 become escapes."""
    return f"{json.dumps(document, ensure_ascii=False, indent=2)}\n".encode("utf-8", "backslashreplace")


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or is_left_out(name) or name.casefold().endswith(COMPANION)


def _fitted(name: str, ending: str) -> str:
    """Return the name with an ending, shortened to what file systems allow."""
    while len(os.fsencode(name + ending)) > _MAX_NAME_BYTES:
        name = name[:-1]
    return name + ending


def _require_sendable(path: Path, found: os.stat_result, media_type: str) -> None:
    """Raise NotSendable for what can never be sent; FileNotFoundError."""
    if not stat.S_ISREG(found.st_mode):
        raise NotSendable("not a regular file: put a copy of the file itself here, or an archive (ZIP)", "not_regular")
    if found.st_nlink != 1:
        raise NotSendable("the file has another hard link: put a copy here", "several_links")
    if not found.st_size:
        raise NotSendable("the file is empty: most often, an export that failed", "empty_file")
    try:
        FileMeta.checked(path.name, media_type)
    except (InvalidFileName, UnicodeError):
        raise NotSendable("recipients could not save a file of this name", "name_refused") from None
    try:
        os.close(open_regular(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotSendable(f"the file cannot be read: {error.strerror}", "unreadable") from None
