"""The result of comparing a checkpoint that somebody kept with the log's newest one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.evidence import SignedHead


class Outcome(StrEnum):
    """Whether the log only grew since the kept checkpoint, and if that cannot be shown, why."""

    CONSISTENT = "consistent"
    NOT_SIGNED = "not_signed"
    RENEWED = "renewed"
    OTHER_ORIGIN = "other_origin"
    LOG_IS_SHORTER = "log_is_shorter"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class ExplainingEntry:
    """The entry of the signed log with which it continued under a new origin: its number, event and time. Up to `lost`
    entries of the kept checkpoint's log are not in this one.
    """

    sequence: int
    event: str
    at: datetime
    lost: int


@dataclass(frozen=True, slots=True)
class Consistency:
    """`proof` is a text (docs/verify-without-us.md) that shows offline, with the kept checkpoint and the public key,
    that the log only grew; None unless the outcome is CONSISTENT. `newest` is the checkpoint that it leads to. If the
    outcome is RENEWED, `explained_by` is the entry that explains the kept checkpoint's origin.
    """

    outcome: Outcome
    kept: SignedHead
    newest: SignedHead
    proof: str | None
    public_key: str
    explained_by: ExplainingEntry | None = None

    @property
    def verified(self) -> bool:
        """Whether the log only grew."""
        return self.outcome is Outcome.CONSISTENT
