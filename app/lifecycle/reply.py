"""The response to a request, checked in the transaction that makes its result usable: its receiver must still be
connected, and it may replace an earlier result whose response was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.db import transfer_rows
from app.db.engine import Transaction
from app.domain.access_token import Caller
from app.domain.errors import ClientGone
from app.domain.vault_entry import EntryName
from app.lifecycle.repetition import Attempt, Result, conclude


def _connected() -> bool:
    """Return False: the client is not gone."""
    return False


@dataclass(frozen=True, slots=True)
class Reply:
    """A response to a client that may have disconnected. A result that only this response names must not be created
    for a client that is gone.
    """

    is_gone: Callable[[], bool] = _connected
    attempt: Attempt | None = None

    def require_receiver(self) -> None:
        """Raise ClientGone if the client has closed or reset its connection."""
        if self.is_gone():
            raise ClientGone

    def lock(self, transaction: Transaction, transfer_id: str) -> None:
        """Lock the transfer, and the one that is replaced, in the order that avoids deadlocks."""
        replaced = self.attempt.replaces.transfer_id if self.attempt and self.attempt.replaces else transfer_id
        transfer_rows.lock(transaction.connection, sorted({transfer_id, replaced}))

    def settle(self, transaction: Transaction, result: Result, caller: Caller) -> list[EntryName]:
        """Check the receiver, and replace the earlier result by this one. Return the keys to destroy after the commit.

        Raises ClientGone, AlreadyAnswered, IdempotencyInProgress.
        """
        self.require_receiver()
        return conclude(transaction, self.attempt, result, caller) if self.attempt else []


LOCAL = Reply()
"""For callers in this process, who wait for the result."""
