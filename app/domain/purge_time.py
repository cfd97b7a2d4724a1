"""The time recorded by the vault's own purge, for installations where the sweeper does not run.

The sweeper writes the time to the high-water mark each second. Without it, `caducee keys expire` after a reboot would
know no later time than that of the last sweep, so the purge records this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.clock import Anchor

KEPT_EACH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PurgeTime:
    """The time of the last purge (UTC), and the anchor it was counted from."""

    at: datetime
    anchor: Anchor

    def is_news(self, to: datetime | None) -> bool:
        """Return whether this is at least KEPT_EACH later than `to`, the latest recorded time, and worth a write."""
        return to is None or self.at - to >= KEPT_EACH

    def to_text(self) -> str:
        """Serialise to JSON for the vault."""
        return json.dumps({"at": self.at.isoformat(), **self.anchor.fields()})

    @classmethod
    def from_text(cls, text: str) -> PurgeTime:
        """Parse the output of `to_text`. Raises ValueError."""
        try:
            fields = json.loads(text)
            return cls(at=datetime.fromisoformat(fields["at"]), anchor=Anchor.from_fields(fields))
        except (KeyError, TypeError) as error:
            raise ValueError("not the time of a purge") from error
