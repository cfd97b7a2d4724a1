"""What sweeps remember of the vault: which transfers end soon by its names, and when it was last listed.

A row whose expiry was moved later hides its transfer from the sweeper's query, and the vault's purge takes the entry at
its second. So the names of what ends within the next 90 seconds are read every 30, and kept until their second comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from app.lifecycle.gone import ListingPace
from app.runtime.resources import Resources

READ_EVERY = timedelta(seconds=30)
READ_AHEAD = timedelta(seconds=90)


class VaultWatch:
    """The memory of one scheduler. The ends are those in the names of the vault's entries."""

    def __init__(self, pace: ListingPace | None = None) -> None:
        """Read nothing yet. Without a pace the vault is listed for every batch."""
        self.pace = pace or ListingPace(rest=0)
        self._ends: dict[str, datetime] = {}
        self._read_at: datetime | None = None

    def read(self, resources: Resources, now: datetime) -> None:
        """Read what ends soon, unless that was done a moment ago. Raises VaultUnavailable."""
        if self._read_at is not None and timedelta(0) <= now - self._read_at < READ_EVERY:
            return
        for name in resources.vault.ending_by(now + READ_AHEAD):
            known = self._ends.get(name.transfer_id)
            self._ends[name.transfer_id] = name.expires_at if known is None else min(known, name.expires_at)
        self._read_at = now

    def end_of(self, transfer_id: str) -> datetime | None:
        """When a transfer ends by the vault, if that is soon."""
        return self._ends.get(transfer_id)

    def due(self, now: datetime) -> list[str]:
        """The transfers whose second has come by the vault."""
        return [transfer_id for transfer_id, end in self._ends.items() if end <= now]

    def forget(self, transfer_ids: Iterable[str]) -> None:
        """Let go of transfers that have ended."""
        for transfer_id in transfer_ids:
            self._ends.pop(transfer_id, None)
