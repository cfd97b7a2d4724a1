"""Transfer rules: states, lifetime, and the checks of file numbers, file names, paths and free text."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.domain.duration import format_duration
from app.domain.errors import (
    InvalidFileName,
    InvalidFilePath,
    InvalidRequest,
    LifetimeOutOfRange,
    TransferClosed,
    TransferEnded,
    WrongFileNumber,
)

LIFETIME_CEILING = timedelta(days=31)
"""The upper limit of the maximum lifetime setting (docs/settings.md)."""

MAX_NAME_BYTES = 255
"""The limit of common file systems, so that every recipient can save the file under its name."""

MAX_PATH_BYTES = 512
"""Bytes of UTF-8 of all folders above a file: Windows limits whole paths to 260 characters. The limit also bounds how
deep folders are nested, and keeps the headers of a download below 4 KiB, which is what nginx buffers by default."""

MAX_FREE_TEXT = 200
"""Characters of a label or a recipient."""

MAX_RECORDS = 10**9


class TransferState(StrEnum):
    """The states of a transfer, in order; each deletion step is observed before its state is set."""

    RECEIVING = "receiving"
    LIVE = "live"
    DENIED = "denied"
    KEYS_DESTROYED = "keys_destroyed"
    BYTES_DELETED = "bytes_deleted"
    VERIFIED = "verified"


class FileState(StrEnum):
    """A file is `live` once its blob is durable."""

    RECEIVING = "receiving"
    LIVE = "live"


class Ending(StrEnum):
    """Why a transfer was denied."""

    EXPIRED = "expired"
    COMPLETED = "completed"
    DELETED = "deleted"
    FAILED = "failed"
    UNANSWERED = "unanswered"
    REPLACED = "replaced"


OPEN_STATES = (TransferState.RECEIVING, TransferState.LIVE)
ENDING_STATES = (TransferState.DENIED, TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The shortest and longest lifetime that this service grants."""

    minimum: timedelta
    maximum: timedelta

    def expiry(self, asked: timedelta | None, now: datetime) -> datetime:
        """Return the expiry for the requested lifetime (None: the maximum), in whole seconds, UTC.

        It is rounded up, so that nobody gets less than requested, but never past `now + maximum`. Raises
        LifetimeOutOfRange.
        """
        lifetime = self.maximum if asked is None else asked
        if not self.minimum <= lifetime <= self.maximum:
            shortest, longest = format_duration(self.minimum), format_duration(self.maximum)
            raise LifetimeOutOfRange(f"The lifetime must lie between {shortest} and {longest}.")
        latest = math.floor((now + self.maximum).timestamp())
        wanted = math.ceil((now + lifetime).timestamp())
        return datetime.fromtimestamp(min(wanted, latest), UTC)


def require_open(state: TransferState, expires_at: datetime, now: datetime) -> None:
    """Raise TransferEnded unless the transfer is open and `now` is before its expiry."""
    if state not in OPEN_STATES or now >= expires_at:
        raise TransferEnded


def require_taking_files(closed_at: datetime | None) -> None:
    """Raise TransferClosed if a share was issued."""
    if closed_at is not None:
        raise TransferClosed


def require_next_number(asked: int | None, free: int) -> None:
    """Raise WrongFileNumber, with the right number, unless `asked` is the lowest free one. A client that encrypts must
    know the number in advance; another asks for none.
    """
    if asked is not None and asked != free:
        raise WrongFileNumber(next_number=free)


_SEPARATORS = frozenset("/\\")
_ALTERED = "\N{REPLACEMENT CHARACTER}"  # replaces bytes that were not UTF-8: the name would not be the sender's
# Directional marks can make `exe.fdp` read as `fdp.exe` (CVE-2021-42574); neither a name nor a label needs them.
_DIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


def is_plain(text: str) -> bool:
    """Return whether the text is one line without control characters or directional marks."""
    return not any(c in _DIRECTIONAL or unicodedata.category(c) in _CONTROL for c in text)


def checked_file_name(name: str) -> str:
    """Return the name unchanged. Raises InvalidFileName for control characters, separators, directional marks, `.`,
    `..`, and names longer than 255 bytes of UTF-8. This service never uses the name as a path, but recipients may.
    """
    if name.strip(" .") == "":
        raise InvalidFileName("The file name is empty.")
    if not _SEPARATORS.isdisjoint(name):
        raise InvalidFileName("The file name contains / or \\: its folders are sent apart from it, as its path.")
    if not is_plain(name):
        raise InvalidFileName("The file name contains a control character, a line break or a directional mark.")
    if _ALTERED in name:
        raise InvalidFileName("The file name was damaged by a wrong encoding before it was sent.")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidFileName(f"The file name is longer than {MAX_NAME_BYTES} bytes.")
    return name


_DRIVE = re.compile(r"[A-Za-z]:")


def checked_file_path(path: str) -> str:
    """Return the folders above a file unchanged, `/` between them; empty if there are none.

    Raises InvalidFilePath for a path that could lead out of the folder into which a recipient restores it, and for
    folder names that no file may have: control characters, directional marks, more than 255 bytes.
    """
    if not path:
        return path
    if not is_plain(path):
        raise InvalidFilePath("The path contains a control character, a line break or a directional mark.")
    if _ALTERED in path:
        raise InvalidFilePath("The path was damaged by a wrong encoding before it was sent.")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidFilePath(f"The path is longer than {MAX_PATH_BYTES} bytes.")
    for folder in path.split("/"):
        _require_folder_name(folder)
    return path


def _require_folder_name(folder: str) -> None:
    if folder.strip(" .") == "":
        raise InvalidFilePath("The path has an empty folder, . or ..: write a/b, without / at either end.")
    if "\\" in folder:
        raise InvalidFilePath("The path contains \\: write / between folders.")
    if _DRIVE.match(folder):
        raise InvalidFilePath("The path names a drive: write the folders below it.")
    if len(folder.encode()) > MAX_NAME_BYTES:
        raise InvalidFilePath(f"The path has a folder whose name is longer than {MAX_NAME_BYTES} bytes.")


_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")
DEFAULT_MEDIA_TYPE = "application/octet-stream"


def checked_media_type(value: str | None) -> str:
    """Return the media type (RFC 9110, 8.3.1) without parameters, or the default if it is absent or malformed."""
    bare = (value or "").split(";", 1)[0].strip().lower()
    return bare if _MEDIA_TYPE.fullmatch(bare) else DEFAULT_MEDIA_TYPE


_ZERO_WIDTH = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))
"""Soft hyphen, zero-width space, word joiner and byte order mark. U+200C and U+200D stay: they change letters."""

_SPACES = re.compile(r"[\t\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")


def tidied(text: str) -> str:
    """Return a text as it was meant when copied from a message: composed (NFC), without zero-width characters and outer
    white space, with one plain space for each run of spaces. Names that look alike are then equal.
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text).translate(_ZERO_WIDTH)).strip()


def checked_free_text(value: str | None, *, field: str) -> str | None:
    """Return a label or recipient, tidied; None if empty. Raises InvalidRequest, naming the field, unless it is one
    line of at most 200 characters.
    """
    if value is None:
        return None
    text = tidied(value)
    if len(text) > MAX_FREE_TEXT or not is_plain(text):
        raise InvalidRequest(f"{field}: one line of at most {MAX_FREE_TEXT} characters.")
    return text or None
