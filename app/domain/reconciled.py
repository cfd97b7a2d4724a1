"""What the last reconciliation found: kept in the vault, where nobody who writes to the database can embellish it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

SHOWN = 100
"""So many contradictions are named; the rest is counted."""

GOOD_FOR = timedelta(hours=2)
"""Reconciliation runs each hour: an older one proves nothing any more."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One word for what contradicts what (docs/deletion.md), and the transfer; None: the service's own row."""

    word: str
    transfer: str | None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """When it ended, how many entries the vault held, how many blobs, keys and rows belonged to nothing and are still
    there, how many contradictions there were, and the first of them.
    """

    at: datetime
    held: int
    orphans: int
    found: int
    contradictions: list[Contradiction]

    def is_good(self, now: datetime) -> bool:
        """Whether it is recent enough to be quoted, and not from the future."""
        return timedelta(0) <= now - self.at <= GOOD_FOR

    def to_text(self) -> str:
        """Return it as JSON, for the vault's mark."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()})

    @classmethod
    def from_text(cls, text: str) -> Reconciled:
        """Read it back. Raises ValueError."""
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
