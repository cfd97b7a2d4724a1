"""Rows of shares and claims. The conditional UPDATE in `claim` is what makes a share work once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, literal, select, update

from app.crypto.stretching import Argon2Parameters
from app.crypto.token import is_id
from app.db.any_of import any_of
from app.db.tables import UtcTime, claims, shares
from app.domain.share import OPEN_STATES, ShareState


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A share as it is stored."""

    id: str
    transfer_id: str
    recipient: str | None
    state: ShareState
    issued_at: datetime
    expires_at: datetime
    link_proof_digest: bytes | None
    verifier_digest: bytes
    argon2_salt: bytes
    argon2_time: int
    argon2_memory_kib: int
    argon2_lanes: int
    wrapped_key: bytes | None
    attempts: int
    failures: int
    attempted_at: datetime | None
    used_at: datetime | None
    ended_at: datetime | None
    keys_destroyed_at: datetime | None
    link_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim as it is stored."""

    id: str
    share_id: str
    transfer_id: str
    token_digest: bytes
    by_proof: bool
    wrapped_key: bytes | None
    claimed_at: datetime
    window_until: datetime
    allowance: int
    bytes_served: int
    delivered_at: datetime | None
    bytes_reserved: int = 0


_SHARE = [shares.c[name] for name in ShareRow.__dataclass_fields__]
_CLAIM = [claims.c[name] for name in ClaimRow.__dataclass_fields__]

_REDEEMABLE = (ShareState.ISSUED, ShareState.CLAIMED)  # the second: its winner may ask again


def create(connection: Connection, row: ShareRow) -> None:
    """Insert a new share."""
    connection.execute(insert(shares).values({name: getattr(row, name) for name in row.__dataclass_fields__}))


def find(connection: Connection, share_id: str) -> ShareRow | None:
    """The share of this id."""
    if not is_id(share_id):
        return None
    row = connection.execute(select(*_SHARE).where(shares.c.id == share_id)).first()
    return _share(row) if row else None


def hashing_of(share: ShareRow) -> Argon2Parameters | None:
    """The parameters that the share's password is stretched with; None for a row with others than Argon2 has."""
    try:
        return Argon2Parameters(time=share.argon2_time, memory_kib=share.argon2_memory_kib, lanes=share.argon2_lanes)
    except (ValueError, TypeError):  # SQLite takes any value anywhere
        return None


def of_transfers(connection: Connection, transfer_ids: Iterable[str]) -> list[ShareRow]:
    """All shares of these transfers, oldest first."""
    query = select(*_SHARE).where(any_of(shares.c.transfer_id, transfer_ids))
    return [_share(row) for row in connection.execute(query.order_by(shares.c.transfer_id, shares.c.issued_at))]


def open_prepared(connection: Connection, share_id: str, wrapped_key: bytes, link_proof_digest: bytes) -> bool:
    """Let a prepared share be claimed: once. False when it is not, or no longer, waiting for that."""
    opened = connection.execute(
        update(shares)
        .where(shares.c.id == share_id, shares.c.state == ShareState.PREPARED)
        .values(state=ShareState.ISSUED, wrapped_key=wrapped_key, link_proof_digest=link_proof_digest)
    )
    return opened.rowcount == 1


def reserve_attempt(connection: Connection, share_id: str, limit: int, now: datetime) -> bool:
    """Spend an attempt before the password is hashed. False when none is left to spend."""
    reserved = connection.execute(
        update(shares)
        .where(shares.c.id == share_id, shares.c.state.in_(_REDEEMABLE), shares.c.attempts < limit)
        .values(
            attempts=shares.c.attempts + 1,
            attempted_at=now,
            link_seen_at=func.coalesce(shares.c.link_seen_at, literal(now, UtcTime())),
        )
    )
    return reserved.rowcount == 1


def note_link_seen(connection: Connection, share_id: str, now: datetime) -> None:
    """Record the first time that somebody presented the link."""
    connection.execute(
        update(shares).where(shares.c.id == share_id, shares.c.link_seen_at.is_(None)).values(link_seen_at=now)
    )


def return_attempt(connection: Connection, share_id: str) -> None:
    """Give back an attempt that turned out right, or that the service could not judge."""
    connection.execute(
        update(shares).where(shares.c.id == share_id, shares.c.attempts > 0).values(attempts=shares.c.attempts - 1)
    )


def count_failure(connection: Connection, share_id: str) -> int:
    """A reserved attempt was wrong. Answers how many were, this one included."""
    counted = update(shares).where(shares.c.id == share_id).values(failures=shares.c.failures + 1)
    failures: int = connection.execute(counted.returning(shares.c.failures)).scalar_one()
    return failures


def claim(connection: Connection, row: ClaimRow, now: datetime) -> bool:
    """Claim the share, if nobody has: of any number of concurrent claims, on any node, one gets True.

    The condition is judged by the database while it holds the row; the claim is inserted in the same transaction.
    """
    won = connection.execute(
        update(shares)
        .where(shares.c.id == row.share_id, shares.c.state == ShareState.ISSUED, shares.c.expires_at > now)
        .values(state=ShareState.CLAIMED, used_at=now)
    )
    if won.rowcount != 1:
        return False
    connection.execute(insert(claims).values({name: getattr(row, name) for name in row.__dataclass_fields__}))
    return True


def end(connection: Connection, share_ids: Sequence[str], state: ShareState, now: datetime) -> set[str]:
    """End open shares: their wrapped keys go in the same transaction. Answers those that had not ended before."""
    if not share_ids:
        return set()
    ending = (
        update(shares)
        .where(any_of(shares.c.id, share_ids), shares.c.state.in_(OPEN_STATES))
        .values(state=state, ended_at=now, wrapped_key=None)
    )
    ended = set(connection.execute(ending.returning(shares.c.id)).scalars())
    if ended:
        connection.execute(update(claims).where(any_of(claims.c.share_id, ended)).values(wrapped_key=None))
    return ended


def open_ones(connection: Connection) -> list[ShareRow]:
    """All shares that have not ended, by transfer."""
    query = select(*_SHARE).where(shares.c.state.in_(OPEN_STATES)).order_by(shares.c.transfer_id)
    return [_share(row) for row in connection.execute(query)]


def with_keys(connection: Connection, share_ids: Iterable[str]) -> set[str]:
    """Those of these shares that may still have a key: open, or ended without that having been observed."""
    query = select(shares.c.id).where(any_of(shares.c.id, share_ids), shares.c.keys_destroyed_at.is_(None))
    return set(connection.execute(query).scalars())


def known(connection: Connection, share_ids: Iterable[str]) -> set[str]:
    """Those of these shares that there are."""
    return set(connection.execute(select(shares.c.id).where(any_of(shares.c.id, share_ids))).scalars())


def mark_keys_destroyed(connection: Connection, share_ids: Sequence[str], now: datetime) -> set[str]:
    """Note that the end of these shares' keys was observed. Answers for which it was noted now, and not before."""
    noted = (
        update(shares)
        .where(any_of(shares.c.id, share_ids), shares.c.keys_destroyed_at.is_(None))
        .values(keys_destroyed_at=now)
        .returning(shares.c.id)
    )
    return set(connection.execute(noted).scalars())


def forget_people(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Drop the recipients of long-ended transfers."""
    connection.execute(update(shares).where(any_of(shares.c.transfer_id, transfer_ids)).values(recipient=None))


def find_claim(connection: Connection, claim_id: str) -> ClaimRow | None:
    """The claim of this id."""
    if not is_id(claim_id):
        return None
    row = connection.execute(select(*_CLAIM).where(claims.c.id == claim_id)).first()
    return _claim(row) if row else None


def claim_of_share(connection: Connection, share_id: str) -> ClaimRow | None:
    """The claim of a share, once there is one."""
    row = connection.execute(select(*_CLAIM).where(claims.c.share_id == share_id)).first()
    return _claim(row) if row else None


def claims_of(connection: Connection, transfer_ids: Iterable[str]) -> list[ClaimRow]:
    """All claims of these transfers."""
    return [
        _claim(row) for row in connection.execute(select(*_CLAIM).where(any_of(claims.c.transfer_id, transfer_ids)))
    ]


def bytes_served(connection: Connection, share_ids: Iterable[str]) -> dict[str, int]:
    """Of those of these shares that were claimed, how many bytes went out at most: what a download still running, or
    cut off with its process, has reserved counts as sent.
    """
    at_most = (claims.c.bytes_served + claims.c.bytes_reserved).label("at_most")
    query = select(claims.c.share_id, at_most).where(any_of(claims.c.share_id, share_ids))
    return {row.share_id: row.at_most for row in connection.execute(query)}


def reserve_bytes(connection: Connection, claim_id: str, count: int) -> bool:
    """Take bytes out of a claim's allowance before they are sent. False when so many are not left."""
    taken = claims.c.bytes_served + claims.c.bytes_reserved
    reserved = connection.execute(
        update(claims)
        .where(claims.c.id == claim_id, taken + count <= claims.c.allowance)
        .values(bytes_reserved=claims.c.bytes_reserved + count)
    )
    return reserved.rowcount == 1


def settle_bytes(connection: Connection, claim_id: str, *, reserved: int, sent: int) -> None:
    """A download is over: what was reserved for it is free again, but for what was sent."""
    values = {"bytes_reserved": claims.c.bytes_reserved - reserved, "bytes_served": claims.c.bytes_served + sent}
    connection.execute(update(claims).where(claims.c.id == claim_id).values(values))


def move_window(connection: Connection, claim_id: str, window_until: datetime) -> None:
    """Move the end of a claim's window. One that the one-line route has shortened stays short."""
    connection.execute(
        update(claims).where(claims.c.id == claim_id, claims.c.delivered_at.is_(None)).values(window_until=window_until)
    )


def reopen_window(connection: Connection, claim_id: str, window_until: datetime, now: datetime) -> None:
    """Move the end of a claim's window, if it is over."""
    connection.execute(
        update(claims).where(claims.c.id == claim_id, claims.c.window_until <= now).values(window_until=window_until)
    )


def mark_delivered(connection: Connection, claim_id: str, now: datetime, left: timedelta) -> None:
    """The one-line route has sent everything: the window ends soon, and then counts as completed."""
    connection.execute(
        update(claims)
        .where(claims.c.id == claim_id, claims.c.delivered_at.is_(None))
        .values(delivered_at=now, window_until=now + left)
    )


def _share(row: Row[Any]) -> ShareRow:
    values = dict(zip(ShareRow.__dataclass_fields__, row, strict=True))
    values["state"] = ShareState(values["state"])
    return ShareRow(**values)


def _claim(row: Row[Any]) -> ClaimRow:
    return ClaimRow(**dict(zip(ClaimRow.__dataclass_fields__, row, strict=True)))
