"""The name of an entry in the key vault: the transfer or share it belongs to, its expiry, and what it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

_ID = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class EntryName:
    """The name of a transfer's shred key; with `share_id`, of a share's shred key; with `claimed` as well, of the
    record that the share was claimed, which holds the digest of the winning claim's token. All expire at `expires_at`.

    Raises ValueError for malformed ids (a path is built from them), for a record without a share, and for an
    `expires_at` that is not a whole second in UTC, after 1970.
    """

    transfer_id: str
    expires_at: datetime
    share_id: str | None = None
    claimed: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a malformed name."""
        if not all(_ID.fullmatch(given) for given in (self.transfer_id, self.share_id) if given is not None):
            raise ValueError("a vault entry is named by the ids of its transfer and share")
        if self.claimed and self.share_id is None:
            raise ValueError("only a share can be claimed")
        if self.expires_at.utcoffset() != timedelta(0):
            raise ValueError("a vault entry expires at a time in UTC")
        if self.expires_at.microsecond or self.expires_at.timestamp() < 0:
            raise ValueError("a vault entry expires at a whole second after 1970")

    @property
    def expiry_unix(self) -> int:
        """The expiry in Unix seconds."""
        return int(self.expires_at.timestamp())

    @property
    def of_claim(self) -> EntryName:
        """The name of the same share's claim record. Raises ValueError for the name of a transfer's key."""
        return replace(self, claimed=True)
