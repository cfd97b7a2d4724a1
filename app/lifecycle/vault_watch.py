"""Cache of the vault across sweeps: the transfers that expire soon by its entry names, and when it was last listed.

A row whose expiry was moved later hides its transfer from the sweeper's query, while the vault's purge removes the
entry on time. So every 30 seconds, entry names that expire within the next 90 seconds are read and kept until they
expire.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from app.lifecycle.gone import ListingPace
from app.runtime.resources import Resources

READ_EVERY = timedelta(seconds=30)
READ_AHEAD = timedelta(seconds=90)


class VaultWatch:
    """Upcoming expiries, from the names of the vault's entries, for one scheduler."""

    def __init__(self, pace: ListingPace | None = None) -> None:
        """Start empty. Without a `pace` the vault is listed for every batch."""
        self.pace = pace or ListingPace(rest=0)
        self._ends: dict[str, datetime] = {}
        self._read_at: datetime | None = None

    def read(self, resources: Resources, now: datetime) -> None:
        """Read upcoming expiries, unless they were read within READ_EVERY. Raises VaultUnavailable."""
        if self._read_at is not None and timedelta(0) <= now - self._read_at < READ_EVERY:
            return
        for name in resources.vault.ending_by(now + READ_AHEAD):
            known = self._ends.get(name.transfer_id)
            self._ends[name.transfer_id] = name.expires_at if known is None else min(known, name.expires_at)
        self._read_at = now

    def end_of(self, transfer_id: str) -> datetime | None:
        """Return a transfer's expiry in the vault, or None if it is not upcoming."""
        return self._ends.get(transfer_id)

    def due(self, now: datetime) -> list[str]:
        """Return the transfers that have expired according to the vault."""
        return [transfer_id for transfer_id, end in self._ends.items() if end <= now]

    def forget(self, transfer_ids: Iterable[str]) -> None:
        """Drop transfers that have ended from the cache."""
        for transfer_id in transfer_ids:
            self._ends.pop(transfer_id, None)
