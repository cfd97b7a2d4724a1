"""The windows of claims, and the time in which the service itself refused recipients: that is added to them.

The sweeper keeps since when recipients have been refused, adds the time to every open claim's row, and starts again
from there (`app/lifecycle/refused_time.py`). What it has not added yet is added when a claim is read (`with_refused`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, case, select, type_coerce, update

from app.db import service_rows
from app.db.share_rows import ClaimRow
from app.db.tables import claims, shares
from app.domain.claim import window_with_refused
from app.domain.share import ShareState


def with_refused(connection: Connection, claim: ClaimRow, expires_at: datetime, now: datetime) -> ClaimRow:
    """Return the claim with its window as it really ends. Asks the database only when the row says that it is over."""
    if now < claim.window_until:
        return claim
    since = service_rows.refused_since(connection)
    if since is None:
        return claim
    return replace(claim, window_until=window_with_refused(claim.window_until, now - since, expires_at))


def add_refused(connection: Connection, refused: timedelta) -> None:
    """Move the windows of all open claims on by this time, none past its share's expiry: one statement."""
    later = type_coerce(claims.c.window_until, BigInteger) + refused // timedelta(microseconds=1)
    of_share = select(type_coerce(shares.c.expires_at, BigInteger)).where(shares.c.id == claims.c.share_id)
    expiry = of_share.scalar_subquery()
    claimed = select(shares.c.id).where(shares.c.state == ShareState.CLAIMED)
    moved = update(claims).where(claims.c.share_id.in_(claimed))
    connection.execute(moved.values(window_until=case((later < expiry, later), else_=expiry)))
