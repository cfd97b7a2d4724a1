"""What a shred key is filed under in the key vault: the transfer or share it belongs to, and its expiry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_ID = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class ShredKeyName:
    """Which shred key: that of a transfer, or with `share_id` that of one of its shares; and when it ends.

    Raises ValueError for ids that are not ids (a path is built from them) and for an `expires_at` that is not a
    whole second in UTC, after 1970.
    """

    transfer_id: str
    expires_at: datetime
    share_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse at once what could not be a name."""
        if not all(_ID.fullmatch(given) for given in (self.transfer_id, self.share_id) if given is not None):
            raise ValueError("a shred key is named by the ids of its transfer and share")
        if self.expires_at.utcoffset() != timedelta(0):
            raise ValueError("a shred key expires at a time in UTC")
        if self.expires_at.microsecond or self.expires_at.timestamp() < 0:
            raise ValueError("a shred key expires at a whole second after 1970")

    @property
    def expiry_unix(self) -> int:
        """The expiry in whole seconds since 1970 UTC."""
        return int(self.expires_at.timestamp())
