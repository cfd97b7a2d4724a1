"""What a report rests on: the state of the log when it was made, and the version of the program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A signed checkpoint: origin and root (base64) of the log, and the number of entries that it covers."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The program's version, the number of entries in the log, and its last signed checkpoint; None without one, or if
    it cannot be read.
    """

    version: str
    entries: int
    checkpoint: SignedHead | None
    public_key: str | None


NO_EVIDENCE = Evidence("", 0, None, None)
