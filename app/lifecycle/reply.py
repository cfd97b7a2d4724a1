"""The response that a request will get, checked in the transaction that makes its result usable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import ClientGone


def _connected() -> bool:
    """Return False: the client is not gone."""
    return False


@dataclass(frozen=True, slots=True)
class Reply:
    """A response to a client, which may have gone: what only a lost response would name must not come into being."""

    is_gone: Callable[[], bool] = _connected

    def require_receiver(self) -> None:
        """Raise ClientGone if the client has closed or reset its connection."""
        if self.is_gone():
            raise ClientGone


LOCAL = Reply()
"""For callers in this process, who wait for the result."""
