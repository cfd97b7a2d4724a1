"""Rows of shares and claims. The conditional UPDATE in `claim` ensures that a share is claimed only once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, literal, select, update

from app.crypto.stretching import Argon2Parameters
from app.crypto.token import is_id
from app.db.any_of import any_of
from app.db.column_types import UtcTime
from app.db.tables import claims, shares
from app.domain.share import OPEN_STATES, ShareState


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A stored share. The wrapped key is removed when the share ends."""

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
    """A stored claim. Allowance and counts are in bytes; `by_proof`: claimed by a client that decrypts."""

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

_REDEEMABLE = (ShareState.ISSUED, ShareState.CLAIMED)  # claimed too: a retry with the same token returns the same claim


def create(connection: Connection, row: ShareRow) -> None:
    """Insert a new share."""
    connection.execute(insert(shares).values({name: getattr(row, name) for name in row.__dataclass_fields__}))


def find(connection: Connection, share_id: str) -> ShareRow | None:
    """Return the share with this id, or None."""
    if not is_id(share_id):
        return None
    row = connection.execute(select(*_SHARE).where(shares.c.id == share_id)).first()
    return _share(row) if row else None


def hashing_of(share: ShareRow) -> Argon2Parameters | None:
    """Return the Argon2 parameters of the share's password, or None if the row's are invalid."""
    try:
        return Argon2Parameters(time=share.argon2_time, memory_kib=share.argon2_memory_kib, lanes=share.argon2_lanes)
    except (ValueError, TypeError):  # SQLite accepts any type in any column
        return None


def of_transfers(connection: Connection, transfer_ids: Iterable[str]) -> list[ShareRow]:
    """Return the shares of these transfers, ordered by transfer, oldest first."""
    query = select(*_SHARE).where(any_of(shares.c.transfer_id, transfer_ids))
    return [_share(row) for row in connection.execute(query.order_by(shares.c.transfer_id, shares.c.issued_at))]


def count_open(connection: Connection, transfer_id: str) -> int:
    """Count the shares of a transfer that have not ended."""
    query = select(func.count()).where(shares.c.transfer_id == transfer_id, shares.c.state.in_(OPEN_STATES))
    counted: int = connection.execute(query).scalar_one()
    return counted


def states_of(connection: Connection, transfer_id: str) -> set[ShareState]:
    """Return the states that the shares of a transfer have."""
    query = select(shares.c.state).where(shares.c.transfer_id == transfer_id).distinct()
    return {ShareState(state) for state in connection.execute(query).scalars()}


def open_prepared(connection: Connection, share_id: str, wrapped_key: bytes, link_proof_digest: bytes) -> bool:
    """Make a prepared share claimable, once. Return False if its state is not `prepared`."""
    opened = connection.execute(
        update(shares)
        .where(shares.c.id == share_id, shares.c.state == ShareState.PREPARED)
        .values(state=ShareState.ISSUED, wrapped_key=wrapped_key, link_proof_digest=link_proof_digest)
    )
    return opened.rowcount == 1


def reserve_attempt(connection: Connection, share_id: str, limit: int, now: datetime) -> bool:
    """Spend a password attempt before hashing. Return False if none is left or the share cannot be claimed."""
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
    """Restore an attempt whose password was right or could not be checked."""
    connection.execute(
        update(shares).where(shares.c.id == share_id, shares.c.attempts > 0).values(attempts=shares.c.attempts - 1)
    )


def count_failure(connection: Connection, share_id: str) -> int:
    """Count a wrong password. Return the number of wrong passwords, including this one."""
    counted = update(shares).where(shares.c.id == share_id).values(failures=shares.c.failures + 1)
    failures: int = connection.execute(counted.returning(shares.c.failures)).scalar_one()
    return failures


def claim(connection: Connection, row: ClaimRow, now: datetime) -> bool:
    """Claim the share if it is unclaimed and unexpired. Of concurrent claims, on any number of nodes, only one returns
    True.

    The database checks the condition under the row's lock; the claim is inserted in the same transaction.
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
    """End open shares and remove their wrapped keys and their claims'. Return the ids of those that were open."""
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
    """Return all open shares, ordered by transfer."""
    query = select(*_SHARE).where(shares.c.state.in_(OPEN_STATES)).order_by(shares.c.transfer_id)
    return [_share(row) for row in connection.execute(query)]


class OpenClaim(NamedTuple):
    """A claim of a share that has not ended. The digest has 32 bytes."""

    share_id: str
    transfer_id: str
    expires_at: datetime
    token_digest: bytes


def open_claims(connection: Connection) -> list[OpenClaim]:
    """Return all open claims. Reads only columns of the first schema, because the upgrade runs it before the schema
    changes.
    """
    columns = (shares.c.id, shares.c.transfer_id, shares.c.expires_at, claims.c.token_digest)
    query = select(*columns).join(claims, claims.c.share_id == shares.c.id).where(shares.c.state == ShareState.CLAIMED)
    return [OpenClaim(*row) for row in connection.execute(query)]


def with_keys(connection: Connection, share_ids: Iterable[str]) -> set[str]:
    """Return those of the shares that may still have a key: the destruction was not observed."""
    query = select(shares.c.id).where(any_of(shares.c.id, share_ids), shares.c.keys_destroyed_at.is_(None))
    return set(connection.execute(query).scalars())


def known(connection: Connection, share_ids: Iterable[str]) -> set[str]:
    """Return those of the shares that exist."""
    return set(connection.execute(select(shares.c.id).where(any_of(shares.c.id, share_ids))).scalars())


def mark_keys_destroyed(connection: Connection, share_ids: Sequence[str], now: datetime) -> set[str]:
    """Record that the destruction of these shares' keys was observed. Return those not recorded before."""
    noted = (
        update(shares)
        .where(any_of(shares.c.id, share_ids), shares.c.keys_destroyed_at.is_(None))
        .values(keys_destroyed_at=now)
        .returning(shares.c.id)
    )
    return set(connection.execute(noted).scalars())


def forget_people(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Erase the recipients of transfers that ended long ago."""
    connection.execute(update(shares).where(any_of(shares.c.transfer_id, transfer_ids)).values(recipient=None))


def recipients_of(connection: Connection, transfer_ids: Sequence[str]) -> dict[str, str]:
    """Return the recipients' names of these transfers' shares, by share id; shares whose name is gone are absent."""
    query = select(shares.c.id, shares.c.recipient).where(
        any_of(shares.c.transfer_id, transfer_ids), shares.c.recipient.is_not(None)
    )
    return {row.id: row.recipient for row in connection.execute(query)}


def find_claim(connection: Connection, claim_id: str) -> ClaimRow | None:
    """Return the claim with this id, or None."""
    if not is_id(claim_id):
        return None
    row = connection.execute(select(*_CLAIM).where(claims.c.id == claim_id)).first()
    return _claim(row) if row else None


def claim_of_share(connection: Connection, share_id: str) -> ClaimRow | None:
    """Return the claim of a share, or None if it was not claimed."""
    row = connection.execute(select(*_CLAIM).where(claims.c.share_id == share_id)).first()
    return _claim(row) if row else None


def claims_of(connection: Connection, transfer_ids: Iterable[str]) -> list[ClaimRow]:
    """Return the claims of these transfers, in no order."""
    return [
        _claim(row) for row in connection.execute(select(*_CLAIM).where(any_of(claims.c.transfer_id, transfer_ids)))
    ]


def bytes_served(connection: Connection, share_ids: Iterable[str]) -> dict[str, int]:
    """Return the maximum number of bytes sent for each claimed share. Bytes reserved by a running download, or by one
    whose process died, count as sent.
    """
    at_most = (claims.c.bytes_served + claims.c.bytes_reserved).label("at_most")
    query = select(claims.c.share_id, at_most).where(any_of(claims.c.share_id, share_ids))
    return {row.share_id: row.at_most for row in connection.execute(query)}


def reserve_bytes(connection: Connection, claim_id: str, count: int) -> bool:
    """Reserve bytes of a claim's allowance before they are sent. Return False if fewer are left."""
    taken = claims.c.bytes_served + claims.c.bytes_reserved
    reserved = connection.execute(
        update(claims)
        .where(claims.c.id == claim_id, taken + count <= claims.c.allowance)
        .values(bytes_reserved=claims.c.bytes_reserved + count)
    )
    return reserved.rowcount == 1


def settle_bytes(connection: Connection, claim_id: str, *, reserved: int, sent: int) -> None:
    """Release the bytes that a finished download had reserved, and count those it sent."""
    values = {"bytes_reserved": claims.c.bytes_reserved - reserved, "bytes_served": claims.c.bytes_served + sent}
    connection.execute(update(claims).where(claims.c.id == claim_id).values(values))


def move_window(connection: Connection, claim_id: str, window_until: datetime) -> None:
    """Set the end of a claim's window, unless the `content` route has delivered everything and shortened it."""
    connection.execute(
        update(claims).where(claims.c.id == claim_id, claims.c.delivered_at.is_(None)).values(window_until=window_until)
    )


def reopen_window(connection: Connection, claim_id: str, window_until: datetime, now: datetime) -> None:
    """Set the end of a claim's window if it has closed."""
    connection.execute(
        update(claims).where(claims.c.id == claim_id, claims.c.window_until <= now).values(window_until=window_until)
    )


def mark_delivered(connection: Connection, claim_id: str, now: datetime, left: timedelta) -> None:
    """Record that the `content` route sent everything. The window closes after `left`; the share is then completed."""
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
