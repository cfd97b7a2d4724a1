"""Retention figures from the database: held transfers and their age, overdue transfers, failing deletions.

A transfer in an unknown state never counts as ended: only states known to hold nothing are excluded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Connection, case, exists, func, literal, select, type_coerce

from app.db.column_types import UtcTime
from app.db.tables import files, shares, transfers
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.transfer import ENDING_STATES, OPEN_STATES, TransferState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000  # microseconds, as times are stored


def count_keys_left(connection: Connection, now: datetime) -> int:
    """Count the transfers with a due key that could not be destroyed yet, or whose state does not rule that out."""
    ended = shares.c.state.not_in(OPEN_SHARES) & shares.c.keys_destroyed_at.is_(None)
    of_share = exists().where(shares.c.transfer_id == transfers.c.id, ended)
    due = transfers.c.state.in_(OPEN_STATES) & (of_share | (transfers.c.expires_at <= now))
    keyed = transfers.c.state.not_in([*OPEN_STATES, *ENDING_STATES[1:], TransferState.VERIFIED]) | due
    return connection.execute(select(func.count()).where(transfers.c.failures > 0, keyed)).scalar_one()


def count_bytes_left(connection: Connection, due_before: datetime) -> int:
    """Count the transfers with bytes that were due before `due_before` and could not be deleted yet: of transfers
    denied before it, and of failed uploads.
    """
    denied = transfers.c.state.in_([TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED])
    dead = exists().where(files.c.transfer_id == transfers.c.id, files.c.lease_until < due_before)
    resisting = (denied & (transfers.c.denied_at < due_before)) | (transfers.c.state.in_(OPEN_STATES) & dead)
    return connection.execute(select(func.count()).where(transfers.c.failures > 0, resisting)).scalar_one()


def count_by_state(connection: Connection) -> dict[str, int]:
    """Count the transfers in each state."""
    query = select(transfers.c.state, func.count()).group_by(transfers.c.state)
    return {str(state): int(count) for state, count in connection.execute(query)}


def overdue(connection: Connection, now: datetime) -> tuple[int, datetime | None]:
    """Count the transfers that are due but not verified, and return since when the most overdue one is due.

    A transfer is due when it is past its expiry, or was denied before it. One in an unknown state is always due,
    because it may have ended.
    """
    ended = case((transfers.c.denied_at < transfers.c.expires_at, transfers.c.denied_at), else_=transfers.c.expires_at)
    since = case((ended <= now, ended), (transfers.c.state.not_in(TransferState), literal(now, UtcTime)))
    query = select(func.count(), func.min(since)).where(transfers.c.state != TransferState.VERIFIED, since <= now)
    count, oldest = connection.execute(query).one()
    return count, oldest


def held_by_age(connection: Connection, now: datetime, days: int) -> list[int]:
    """Count the held transfers by age: under 1 day, 1 to 2 days, and so on; the last count includes all older ones."""
    counts = []
    for day in range(days):
        query = select(func.count()).where(
            transfers.c.state != TransferState.VERIFIED, transfers.c.created_at <= now - timedelta(days=day)
        )
        younger_than = now - timedelta(days=day + 1)
        within = query if day == days - 1 else query.where(transfers.c.created_at > younger_than)
        counts.append(connection.execute(within).scalar_one())
    return counts


def lateness_by_day(connection: Connection, since: datetime) -> list[tuple[datetime, int, float]]:
    """Return one row per day (UTC) of deletions verified since `since`: day, number, worst lateness in seconds."""
    verified = type_coerce(transfers.c.verified_at, BigInteger)
    ended = case((transfers.c.denied_at < transfers.c.expires_at, transfers.c.denied_at), else_=transfers.c.expires_at)
    day = (verified - verified % _DAY).label("day")
    query = select(day, func.count(), func.max(verified - type_coerce(ended, BigInteger)))
    grouped = query.where(transfers.c.verified_at >= since).group_by(day).order_by(day)
    rows = connection.execute(grouped)
    return [(_EPOCH + timedelta(microseconds=at), count, max(0, worst) / 1e6) for at, count, worst in rows]


def oldest_held(connection: Connection) -> datetime | None:
    """Return the creation time of the oldest held transfer, or None."""
    query = select(func.min(transfers.c.created_at)).where(transfers.c.state != TransferState.VERIFIED)
    oldest: datetime | None = connection.execute(query).scalar()
    return oldest


def held(connection: Connection) -> tuple[int, datetime | None]:
    """Count the held transfers, and return when the last of them expires."""
    query = select(func.count(), func.max(transfers.c.expires_at)).where(transfers.c.state != TransferState.VERIFIED)
    count, last = connection.execute(query).one()
    return count, last


def failing(connection: Connection, limit: int) -> list[str]:
    """Return the transfers with a failed and unfinished deletion, their own or a share's, most failures first."""
    query = select(transfers.c.id).where(transfers.c.failures > 0, transfers.c.state != TransferState.VERIFIED)
    return list(connection.execute(query.order_by(transfers.c.failures.desc()).limit(limit)).scalars())
