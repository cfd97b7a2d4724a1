"""What a check of the audit log can find: the kind of tampering, the first place that fails, what explains gaps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a log fails. `docs/audit-log.md` lists them; a test compares."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    ROLLED_BACK = "rolled_back"
    FORKED = "forked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the first entry that it concerns, if it concerns entries."""

    kind: Kind
    problem: str
    sequence: int | None = None


class Tampered(Exception):
    """Raised with the finding by the steps of a check; the check itself answers a verdict."""

    def __init__(self, kind: Kind, problem: str, sequence: int | None = None) -> None:
        """Keep the finding."""
        super().__init__(problem)
        self.finding = Finding(kind, problem, sequence)


@dataclass(frozen=True, slots=True)
class Renewal:
    """An entry with which the log went on under a new origin: which one was given up and why, and how many entries the
    last checkpoint of that origin spoke of (None: it had none).
    """

    sequence: int
    event: str
    reason: str | None
    origin: str | None
    signed_size: int | None


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What the check found: no kind and no problem means that nothing failed. `sequence` is the first entry concerned,
    where one is; entries below `pruned_below` may have lost their content.
    """

    entries: int
    checkpoints: int
    problem: str | None = None
    sequence: int | None = None
    kind: Kind | None = None
    origin: str = ""
    pruned_below: int = 0
    renewals: tuple[Renewal, ...] = ()
