"""Idempotency keys by digest: the request that holds each, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, text, update

from app.db.column_types import UtcTime
from app.db.tables import idempotency_keys, transfers


@dataclass(frozen=True, slots=True, repr=False)
class KeyRow:
    """A key. `attempt` is the id of the request that holds or held it, until `lease_until` while it runs.
    `transfer_id` and `share_id` are its result, usable since `made_at`.
    """

    digest: bytes
    fingerprint: bytes
    created_at: datetime
    attempt: str
    lease_until: datetime | None
    transfer_id: str | None
    share_id: str | None
    made_at: datetime | None


_COLUMNS = [idempotency_keys.c[name] for name in KeyRow.__dataclass_fields__]
_CREATE = text(
    "INSERT INTO idempotency_keys (digest, fingerprint, created_at, attempt, lease_until)"
    " VALUES (:digest, :fingerprint, :created_at, :attempt, :lease_until) ON CONFLICT (digest) DO NOTHING"
).bindparams(bindparam("created_at", type_=UtcTime), bindparam("lease_until", type_=UtcTime))


def create(connection: Connection, row: KeyRow) -> bool:
    """Insert a key that has no result yet. Return False if it exists."""
    names = ("digest", "fingerprint", "created_at", "attempt", "lease_until")
    return connection.execute(_CREATE, {name: getattr(row, name) for name in names}).rowcount == 1


def find(connection: Connection, digest: bytes) -> KeyRow | None:
    """Return the key with this digest, locked until the transaction ends."""
    query = select(*_COLUMNS).where(idempotency_keys.c.digest == digest).with_for_update()
    row = connection.execute(query).first()
    return KeyRow(*row) if row else None


def hold(connection: Connection, digest: bytes, attempt: str, until: datetime) -> None:
    """Give the key to an attempt."""
    held = update(idempotency_keys).where(idempotency_keys.c.digest == digest)
    connection.execute(held.values(attempt=attempt, lease_until=until))


def renew(connection: Connection, digest: bytes, attempt: str, until: datetime) -> None:
    """Set the end of an attempt's lease, unless another attempt holds the key."""
    mine = and_(idempotency_keys.c.digest == digest, idempotency_keys.c.attempt == attempt)
    connection.execute(update(idempotency_keys).where(mine).values(lease_until=until))


def conclude(connection: Connection, row: KeyRow) -> bool:
    """Record the result of the attempt that holds the key. Return False if another attempt holds it."""
    mine = and_(idempotency_keys.c.digest == row.digest, idempotency_keys.c.attempt == row.attempt)
    result = {"transfer_id": row.transfer_id, "share_id": row.share_id, "made_at": row.made_at, "lease_until": None}
    return connection.execute(update(idempotency_keys).where(mine).values(result)).rowcount == 1


def forget(connection: Connection, before: datetime) -> int:
    """Delete keys whose transfer ended before this time, and keys without a result that were used before it. Return
    their number.
    """
    over = select(transfers.c.id).where(transfers.c.denied_at < before)
    made_none = and_(idempotency_keys.c.transfer_id.is_(None), idempotency_keys.c.created_at < before)
    gone = or_(made_none, idempotency_keys.c.transfer_id.in_(over))
    return connection.execute(delete(idempotency_keys).where(gone)).rowcount
