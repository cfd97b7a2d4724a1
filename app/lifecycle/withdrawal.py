"""Report a withdrawal as the reason of a refusal. A withdrawal ends the row first and destroys the keys afterwards, so
a request that began before it may only see that a key is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.db import share_rows
from app.domain.errors import ClaimEnded, ShareExpired, ShareWithdrawn
from app.domain.share import ShareState
from app.runtime.resources import Resources


@contextmanager
def named(resources: Resources, share_id: str) -> Iterator[None]:
    """Raise ShareWithdrawn in place of ShareExpired or ClaimEnded if the share or its transfer was withdrawn."""
    try:
        yield
    except (ShareExpired, ClaimEnded):
        with resources.database.reading() as connection:
            share = share_rows.find(connection, share_id)
        if share is not None and share.state == ShareState.WITHDRAWN:
            raise ShareWithdrawn from None
        raise
