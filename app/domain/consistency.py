"""The result of comparing a checkpoint that somebody kept with the log's newest one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain.evidence import SignedHead


class Outcome(StrEnum):
    """Whether the log only grew since the kept checkpoint, and if that cannot be shown, why."""

    CONSISTENT = "consistent"
    NOT_SIGNED = "not_signed"
    OTHER_ORIGIN = "other_origin"
    LOG_IS_SHORTER = "log_is_shorter"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Consistency:
    """`proof` is a text (docs/verify-without-us.md) that shows offline, with the kept checkpoint and the public key,
    that the log only grew; None unless the outcome is CONSISTENT. `newest` is the checkpoint that it leads to.
    """

    outcome: Outcome
    kept: SignedHead
    newest: SignedHead
    proof: str | None
    public_key: str

    @property
    def verified(self) -> bool:
        """Whether the log only grew."""
        return self.outcome is Outcome.CONSISTENT
