"""Rules of a transfer: its states, its lifetime, what it takes in, how its deletion proceeds."""

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
    InvalidRequest,
    LifetimeOutOfRange,
    TransferClosed,
    TransferEnded,
    WrongFileNumber,
)

LIFETIME_CEILING = timedelta(days=31)
"""No configuration takes the maximum lifetime above this (docs/settings.md)."""

MAX_NAME_BYTES = 255
"""What common file systems can store, so that every recipient can save the file under its name."""

MAX_FREE_TEXT = 200
"""Characters of a label or a recipient."""

MAX_RECORDS = 10**9


class TransferState(StrEnum):
    """The life of a transfer; each state is reached only once the step before was observed."""

    RECEIVING = "receiving"
    LIVE = "live"
    DENIED = "denied"
    KEYS_DESTROYED = "keys_destroyed"
    BYTES_DELETED = "bytes_deleted"
    VERIFIED = "verified"


class FileState(StrEnum):
    """A file counts once its blob is durable."""

    RECEIVING = "receiving"
    LIVE = "live"


class Ending(StrEnum):
    """Why a transfer was denied."""

    EXPIRED = "expired"
    COMPLETED = "completed"
    DELETED = "deleted"
    FAILED = "failed"


OPEN_STATES = (TransferState.RECEIVING, TransferState.LIVE)
ENDING_STATES = (TransferState.DENIED, TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The shortest and longest lifetime that this service grants."""

    minimum: timedelta
    maximum: timedelta

    def expiry(self, asked: timedelta | None, now: datetime) -> datetime:
        """The expiry for a lifetime asked for (None: the maximum), in whole seconds, UTC.

        Rounded up so that nobody gets less than asked for, but never past `now + maximum`. Raises LifetimeOutOfRange.
        """
        lifetime = self.maximum if asked is None else asked
        if not self.minimum <= lifetime <= self.maximum:
            shortest, longest = format_duration(self.minimum), format_duration(self.maximum)
            raise LifetimeOutOfRange(f"The lifetime must lie between {shortest} and {longest}.")
        latest = math.floor((now + self.maximum).timestamp())
        wanted = math.ceil((now + lifetime).timestamp())
        return datetime.fromtimestamp(min(wanted, latest), UTC)


def require_open(state: TransferState, expires_at: datetime, now: datetime) -> None:
    """Refuse whatever needs a transfer that has not ended: from the first instant of its expiry on."""
    if state not in OPEN_STATES or now >= expires_at:
        raise TransferEnded


def require_taking_files(closed_at: datetime | None) -> None:
    """Refuse further files once a share was issued."""
    if closed_at is not None:
        raise TransferClosed


def next_file_number(taken: set[int], asked: int | None) -> int:
    """The lowest free number: that of a broken upload is taken again. Whoever encrypts by themselves must know the
    number beforehand: if it is another, raises WrongFileNumber, which names the right one.
    """
    number = next(number for number in range(len(taken) + 1) if number not in taken)
    if asked is not None and asked != number:
        raise WrongFileNumber(next_number=number)
    return number


_SEPARATORS = frozenset("/\\")
_ALTERED = "\N{REPLACEMENT CHARACTER}"  # what is left of bytes that were no UTF-8: the name would not be the sender's
# Directional marks can make `exe.fdp` read as `fdp.exe` (CVE-2021-42574); neither a name nor a label needs them.
_DIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


def is_plain(text: str) -> bool:
    """One line that reads the way it is written."""
    return not any(c in _DIRECTIONAL or unicodedata.category(c) in _CONTROL for c in text)


def checked_file_name(name: str) -> str:
    """The name as it was given. Raises InvalidFileName for control characters, separators, directional marks, `.`,
    `..`, and names beyond 255 bytes of UTF-8. The name never becomes a path here; it must be safe to become one
    elsewhere.
    """
    if not is_plain(name) or _ALTERED in name or not _SEPARATORS.isdisjoint(name) or name.strip(" .") == "":
        raise InvalidFileName
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidFileName
    return name


_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")
DEFAULT_MEDIA_TYPE = "application/octet-stream"


def checked_media_type(value: str | None) -> str:
    """The bare media type (RFC 9110, 8.3.1) without parameters, or the default where it is absent or malformed."""
    bare = (value or "").split(";", 1)[0].strip().lower()
    return bare if _MEDIA_TYPE.fullmatch(bare) else DEFAULT_MEDIA_TYPE


def checked_free_text(value: str | None, *, field: str) -> str | None:
    """A label or recipient: one line of at most 200 characters. Raises InvalidRequest naming the field."""
    if value is None:
        return None
    text = value.strip()
    if len(text) > MAX_FREE_TEXT or not is_plain(text):
        raise InvalidRequest(f"{field}: one line of at most {MAX_FREE_TEXT} characters.")
    return text or None
