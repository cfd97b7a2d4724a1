"""Remembers which claims had the right password, so that a claim that is repeated need not be hashed again.

A process remembers what it has checked itself, as digests under a key of its own: passwords have 80 random bits, and
tokens 256. What is remembered opens nothing; it only saves a run of Argon2.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict

REMEMBERED = 10_000
"""Claims of a process, of 32 bytes each. One that was forgotten is hashed once more."""


class ProvedClaims:
    """The claims of one process whose password was right."""

    def __init__(self) -> None:
        """Nothing is proved."""
        self._key = os.urandom(32)
        self._proved: OrderedDict[bytes, None] = OrderedDict()

    def add(self, share_id: str, token: bytes, password: str) -> None:
        """Remember that the claim of this share with this token had this password (normalised)."""
        self._proved[self._digest(share_id, token, password)] = None
        while len(self._proved) > REMEMBERED:
            self._proved.popitem(last=False)

    def has(self, share_id: str, token: bytes, password: str) -> bool:
        """Return whether the same claim was proved here."""
        return self._digest(share_id, token, password) in self._proved

    def _digest(self, share_id: str, token: bytes, password: str) -> bytes:
        return hmac.digest(self._key, share_id.encode() + token + password.encode(), "sha256")
