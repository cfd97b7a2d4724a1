"""The result of verifying the audit log: the kind of tampering, the first failing entry, and renewals of the log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of tampering. `docs/audit-log.md` lists them; a test compares."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    ROLLED_BACK = "rolled_back"
    FORKED = "forked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, and the sequence number of the first affected entry, if there is one."""

    kind: Kind
    problem: str
    sequence: int | None = None


class Tampered(Exception):
    """Raised by the steps of a check; the check as a whole returns a LogVerdict."""

    def __init__(self, kind: Kind, problem: str, sequence: int | None = None) -> None:
        """Store the arguments as `finding`."""
        super().__init__(problem)
        self.finding = Finding(kind, problem, sequence)


@dataclass(frozen=True, slots=True)
class Renewal:
    """An entry that continues the log under a new origin. `origin` is the abandoned one and `reason` why it was
    abandoned; `signed_size` is the size in its last checkpoint, in entries (None: it had no checkpoint). Up to `lost`
    of the abandoned origin's entries are missing.
    """

    sequence: int
    event: str
    reason: str | None
    origin: str | None
    signed_size: int | None
    lost: int


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """The result of a check; it passed if `kind` and `problem` are None. `sequence` is the first affected entry, if
    there is one; entries below `pruned_below` may have lost their content.
    """

    entries: int
    checkpoints: int
    problem: str | None = None
    sequence: int | None = None
    kind: Kind | None = None
    origin: str = ""
    pruned_below: int = 0
    renewals: tuple[Renewal, ...] = ()
