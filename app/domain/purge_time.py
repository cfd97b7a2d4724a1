"""What the vault's own purge remembers of the time, for when nobody else keeps it.

The sweeper leaves the time in the high-water mark each second. Where it does not run, the purge goes by this: else a
`caducee keys expire` of tomorrow would know no more than the last sweep, and stand there for ever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.clock import Anchor, Judgement

KEPT_EACH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PurgeTime:
    """The time of the last purge (UTC) with its anchor; for how many seconds of running the clock has not been
    believed, None while it is.
    """

    at: datetime
    anchor: Anchor
    waited_seconds: float | None = None

    def after(self, judgement: Judgement) -> PurgeTime:
        """What to remember of the next purge. Waiting begins with the purge that first sees the problem; time that
        passes while the host is off is not waited.
        """
        if judgement.problem is None:
            return PurgeTime(judgement.now, judgement.anchor)
        if self.waited_seconds is None:
            return PurgeTime(judgement.now, judgement.anchor, 0.0)
        passed = max(0.0, (judgement.now - self.at).total_seconds())
        return PurgeTime(judgement.now, judgement.anchor, self.waited_seconds + passed)

    def is_news(self, to: PurgeTime) -> bool:
        """Whether this is worth a write, for one who remembers `to`."""
        waiting = self.waited_seconds is not None or to.waited_seconds is not None
        return waiting or self.anchor != to.anchor or self.at - to.at >= KEPT_EACH

    def to_text(self) -> str:
        """As JSON, for the vault."""
        fields = {
            "at": self.at.isoformat(),
            **self.anchor.fields(),
            "waited_seconds": self.waited_seconds,
        }
        return json.dumps(fields)

    @classmethod
    def from_text(cls, text: str) -> PurgeTime:
        """Read it back. Raises ValueError."""
        try:
            fields = json.loads(text)
            return cls(
                at=datetime.fromisoformat(fields["at"]),
                anchor=Anchor.from_fields(fields),
                waited_seconds=None if fields["waited_seconds"] is None else float(fields["waited_seconds"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not the time of a purge") from error
