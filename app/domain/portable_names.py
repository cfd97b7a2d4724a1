"""File names and paths that every recipient's system can store: for archives, downloads, the page and clients.

Names and folders are kept as the depositor gave them; they are cleaned only where they leave the service.
`app/web/static/names.js` does the same; both are tested against tests/vectors/file-names.json.

Sources: "Naming Files, Paths, and Namespaces" (Microsoft Learn) for characters, device names and endings; APFS and NTFS
ignore case, and APFS ignores the form of normalisation (UAX #15).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_PORTABLE_BYTES = 200
"""Bytes of UTF-8. File systems allow 255, but Windows limits whole paths to 260 characters, and browsers append an
extension while they download."""

_TAIL_BYTES = 60
"""Bytes kept at the end of a shortened name: the extension, and the date that often stands before it."""

_SUFFIX_BYTES = 20
"""A longer part after the last dot is not an extension."""

_UNSAFE_CHARACTERS = frozenset('/\\:*?"<>|\ufffd')
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)", re.IGNORECASE | re.ASCII)
_ELLIPSIS = "…"


def portable_name(name: str, number: int) -> str:
    """Return a name that Windows, macOS and Linux can store and that leads to no other folder.

    `number` is that of the file; it names a file of whose name nothing is left.
    """
    return _portable(name, f"file-{number + 1}")


def distinct_paths(files: Iterable[tuple[str, str]]) -> list[str]:
    """Return the portable paths of a transfer's files, given in order as path and name: folders and name with `/`
    between them.

    In each folder, no two names are equal where case and normalisation are ignored: of two files, two folders, or a
    file and a folder, the later becomes `name (2).ext`.
    """
    top, found = _Folder(""), []
    for number, (path, name) in enumerate(files):
        folder = top
        for given in path.split("/") if path else ():
            folder = folder.below(given)
        found.append(folder.prefix + folder.take(portable_name(name, number)))
    return found


class _Folder:
    """The names taken in one folder; `prefix` is its portable path, which ends with `/` unless it is empty."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}
        self._folders: dict[str, _Folder] = {}

    def take(self, name: str) -> str:
        candidate, key = name, _folded(name)
        while _folded(candidate) in self._taken:
            self._counts[key] = self._counts.get(key, 1) + 1
            candidate = _numbered(name, self._counts[key])
        self._taken.add(_folded(candidate))
        return candidate

    def below(self, given: str) -> _Folder:
        """Return the folder in this one that the depositor's programs call `given`."""
        if given not in self._folders:
            self._folders[given] = _Folder(f"{self.prefix}{self.take(_portable(given, 'folder'))}/")
        return self._folders[given]


def _portable(name: str, instead: str) -> str:
    """Return the portable name, or `instead` if nothing is left of it."""
    composed = unicodedata.normalize("NFC", name)
    plain = _stripped("".join("_" if _is_unsafe(character) else character for character in composed))
    return _shortened(f"_{plain}" if _DEVICE.match(plain) else plain) or instead


def _is_unsafe(character: str) -> bool:
    return character in _UNSAFE_CHARACTERS or unicodedata.category(character) in _UNSAFE_CATEGORIES


def _stripped(name: str) -> str:
    """Remove dots and white space at both ends: Windows drops them at the end, a leading dot hides the file."""
    return re.sub(r"^[\s.]+|[\s.]+$", "", name)


def _shortened(name: str) -> str:
    """Cut out the middle of a name that is too long."""
    data = name.encode()
    if len(data) <= MAX_PORTABLE_BYTES:
        return name
    head = data[: MAX_PORTABLE_BYTES - _TAIL_BYTES - len(_ELLIPSIS.encode())].decode(errors="ignore")
    return head + _ELLIPSIS + data[-_TAIL_BYTES:].decode(errors="ignore")


def _numbered(name: str, count: int) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _SUFFIX_BYTES:
        stem, dot, suffix = name, "", ""
    ending = f" ({count}){dot}{suffix}"
    return stem.encode()[: MAX_PORTABLE_BYTES - len(ending.encode())].decode(errors="ignore") + ending


def _folded(name: str) -> str:
    """Return the form in which names are compared. Upper, then lower case: scripts have no case folding."""
    return unicodedata.normalize("NFC", name.upper().lower())
