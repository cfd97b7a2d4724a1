"""Extends claim windows by the time in which the service itself refused recipients.

The sweeper records since when recipients are refused, and regularly adds the elapsed time to every open claim's row
(`app/lifecycle/refused_time.py`). Time not yet added is included when a claim is read (`with_refused`).
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
    """Return the claim with its extended window. Queries the database only if the stored window has ended."""
    if now < claim.window_until:
        return claim
    since = service_rows.refused_since(connection)
    if since is None:
        return claim
    return replace(claim, window_until=window_with_refused(claim.window_until, now - since, expires_at))


def add_refused(connection: Connection, refused: timedelta) -> None:
    """Extend the windows of all open claims by `refused`, at most to their shares' expiry, in one statement."""
    later = type_coerce(claims.c.window_until, BigInteger) + refused // timedelta(microseconds=1)
    of_share = select(type_coerce(shares.c.expires_at, BigInteger)).where(shares.c.id == claims.c.share_id)
    expiry = of_share.scalar_subquery()
    claimed = select(shares.c.id).where(shares.c.state == ShareState.CLAIMED)
    moved = update(claims).where(claims.c.share_id.in_(claimed))
    connection.execute(moved.values(window_until=case((later < expiry, later), else_=expiry)))
