"""What the vault's own purge remembers of the time, for when nobody else keeps it.

The sweeper leaves the time in the high-water mark each second. Where it does not run, the purge keeps this: after the
next reboot a `caducee keys expire` would otherwise know no later time than that of the last sweep.
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
        """Whether this is worth a write where `to` is the latest time that is remembered."""
        return to is None or self.at - to >= KEPT_EACH

    def to_text(self) -> str:
        """As JSON, for the vault."""
        return json.dumps({"at": self.at.isoformat(), **self.anchor.fields()})

    @classmethod
    def from_text(cls, text: str) -> PurgeTime:
        """Read it back. Raises ValueError."""
        try:
            fields = json.loads(text)
            return cls(at=datetime.fromisoformat(fields["at"]), anchor=Anchor.from_fields(fields))
        except (KeyError, TypeError) as error:
            raise ValueError("not the time of a purge") from error
