"""The high-water mark: the database's time, log size and log root, as stored in the key vault.

The vault is excluded from backups, so a database that is behind this mark was restored from a backup or tampered with.
The vault's own purge, which needs no database, reads the time from this mark.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime

from app.domain.clock import Anchor


@dataclass(frozen=True, slots=True)
class HighWater:
    """The highest accepted time (UTC) and its anchor; the log's size in entries, its root (32 bytes), and its origin,
    which marks written by version 0.1 lack.
    """

    at: datetime
    anchor: Anchor
    log_size: int
    log_root: bytes
    log_origin: str | None = None

    def to_text(self) -> str:
        """Serialise to JSON for the vault's mark file."""
        fields = {
            "at": self.at.isoformat(),
            **self.anchor.fields(),
            "log_size": self.log_size,
            "log_root": base64.b64encode(self.log_root).decode(),
            **({} if self.log_origin is None else {"log_origin": self.log_origin}),
        }
        return json.dumps(fields)

    @classmethod
    def from_text(cls, text: str) -> HighWater:
        """Parse the output of `to_text`. Raises ValueError."""
        try:
            fields = json.loads(text)
            return cls(
                at=datetime.fromisoformat(fields["at"]),
                anchor=Anchor.from_fields(fields),
                log_size=int(fields["log_size"]),
                log_root=base64.b64decode(fields["log_root"], validate=True),
                log_origin=fields.get("log_origin"),
            )
        except (KeyError, TypeError, binascii.Error) as error:
            raise ValueError("not a high-water mark") from error
