"""Counts refused access tokens by the client's network, for one log entry a minute.

A guessing machine adds to counts, never entries: an entry names the busiest networks, and memory is bounded.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from app.domain.party import party_of

MOST_COUNTED = 1_000
"""Networks that are counted apart in one minute."""

MOST_NAMED = 10
"""Networks that one entry names."""


@dataclass(frozen=True, slots=True)
class RefusedTokens:
    """What was refused: the total, and the busiest networks as `ADDRESS=COUNT`, separated by spaces."""

    count: int
    addresses: str


class TokenRefusals:
    """The refusals that this process has not logged yet. Thread-safe."""

    def __init__(self) -> None:
        """Start without refusals."""
        self._counts: Counter[str] = Counter()
        self._elsewhere = 0
        self._lock = threading.Lock()

    def add(self, address: str) -> None:
        """Count a request with a wrong, revoked or expired token."""
        party = party_of(address)
        with self._lock:
            if party in self._counts or len(self._counts) < MOST_COUNTED:
                self._counts[party] += 1
            else:
                self._elsewhere += 1

    def take(self) -> RefusedTokens:
        """Return what was counted since the last call, and start again."""
        with self._lock:
            counts, elsewhere = self._counts, self._elsewhere
            self._counts, self._elsewhere = Counter(), 0
        named = " ".join(f"{party}={count}" for party, count in counts.most_common(MOST_NAMED))
        return RefusedTokens(counts.total() + elsewhere, named)
