"""The result of the last reconciliation, kept in the vault so that write access to the database cannot alter it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

SHOWN = 100
"""The number of contradictions listed; `found` counts all of them."""

GOOD_FOR = timedelta(hours=2)
"""Reconciliation runs each hour; an older result is stale."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A contradiction: its keyword (docs/deletion.md), and the transfer; None means the service's own row."""

    word: str
    transfer: str | None


@dataclass(frozen=True, slots=True)
class ReconciliationResult:
    """A finished reconciliation: its end (`at`), the number of entries in the vault (`held`), of blobs, keys and rows
    that belong to nothing and still exist (`orphans`), of contradictions (`found`), and the first SHOWN of them.
    """

    at: datetime
    held: int
    orphans: int
    found: int
    contradictions: list[Contradiction]

    def is_good(self, now: datetime) -> bool:
        """Return whether the result is at most GOOD_FOR old and not from the future."""
        return timedelta(0) <= now - self.at <= GOOD_FOR

    def to_text(self) -> str:
        """Serialise to JSON for the vault's mark."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()})

    @classmethod
    def from_text(cls, text: str) -> ReconciliationResult:
        """Parse the output of `to_text`. Raises ValueError."""
        try:
            fields = json.loads(text)
            return cls(
                at=datetime.fromisoformat(fields["at"]),
                held=int(fields["held"]),
                orphans=int(fields["orphans"]),
                found=int(fields["found"]),
                contradictions=[Contradiction(**each) for each in fields["contradictions"]],
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not the result of a reconciliation") from error
