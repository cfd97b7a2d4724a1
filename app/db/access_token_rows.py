"""Rows of access tokens. Only the digest of a token is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, or_, select, tuple_, update

from app.db import service_rows
from app.db.tables import access_tokens
from app.domain.access_token import ENDS_SOON, Role, TokensShown
from app.domain.transfer_list import Position, cut_page


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An access token without the token."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    owner: str
    last_used_at: datetime | None = None


_COLUMNS = [access_tokens.c[name] for name in TokenRow.__dataclass_fields__]
_OF_DIGEST = select(*_COLUMNS).where(access_tokens.c.digest == bindparam("of_digest"))  # built once: for every request
_OF_ID = select(*_COLUMNS).where(access_tokens.c.id == bindparam("of_id"))


def create(connection: Connection, row: TokenRow, digest: bytes) -> None:
    """Store a new token's digest."""
    values = {name: getattr(row, name) for name in TokenRow.__dataclass_fields__}
    connection.execute(insert(access_tokens).values(digest=digest, **values))


def replace_unused(connection: Connection, token_id: str, digest: bytes) -> bool:
    """Replace the digest of a token that was neither used nor revoked. Return False if there is none with this id."""
    unused = (access_tokens.c.last_used_at.is_(None), access_tokens.c.revoked_at.is_(None))
    changed = connection.execute(
        update(access_tokens).where(access_tokens.c.id == token_id, *unused).values(digest=digest)
    )
    return changed.rowcount == 1


def find_by_digest(connection: Connection, digest: bytes) -> TokenRow | None:
    """Return the token with this digest (32 bytes), or None."""
    row = connection.execute(_OF_DIGEST, {"of_digest": digest}).first()
    return _row(row) if row else None


def find(connection: Connection, token_id: str) -> TokenRow | None:
    """Return the token with this id, or None."""
    row = connection.execute(_OF_ID, {"of_id": token_id}).first()
    return _row(row) if row else None


def is_owner(connection: Connection, owner: str) -> bool:
    """Return whether any token, revoked or not, has this owner. Locks the service's row until the transaction ends, so
    that concurrent calls wait and two new tokens cannot take the same owner.
    """
    service_rows.lock(connection)
    query = select(access_tokens.c.id).where(access_tokens.c.owner == owner).limit(1)
    return connection.execute(query).first() is not None


def every(connection: Connection) -> list[TokenRow]:
    """Return all tokens, oldest first."""
    query = select(*_COLUMNS).order_by(access_tokens.c.created_at, access_tokens.c.id)
    return [_row(row) for row in connection.execute(query)]


def page(
    connection: Connection, shown: TokensShown, now: datetime, *, after: Position | None, limit: int
) -> tuple[list[TokenRow], Position | None]:
    """Return up to `limit` tokens after a position, newest first, and the position of the last one if more follow."""
    order, expires = (access_tokens.c.created_at, access_tokens.c.id), access_tokens.c.expires_at
    query = select(*_COLUMNS).order_by(*(column.desc() for column in order)).limit(limit + 1)
    if shown is not TokensShown.EVERY:
        query = query.where(access_tokens.c.revoked_at.is_(None), or_(expires.is_(None), expires > now))
    if shown is TokensShown.ENDING:
        query = query.where(expires <= now + ENDS_SOON)
    if after is not None:
        query = query.where(tuple_(*order) < (after.created_at, after.row_id))
    return cut_page([_row(row) for row in connection.execute(query)], limit)


def valid(connection: Connection, now: datetime) -> list[TokenRow]:
    """Return the tokens that are neither revoked nor expired, oldest first."""
    return [
        row for row in every(connection) if row.revoked_at is None and (row.expires_at is None or now < row.expires_at)
    ]


def ending_soon(connection: Connection, now: datetime) -> list[TokenRow]:
    """Return the valid tokens that expire within 14 days (ENDS_SOON), the first to expire first."""
    soon = [row for row in valid(connection, now) if row.expires_at is not None and row.expires_at - now <= ENDS_SOON]
    return sorted(soon, key=lambda row: row.expires_at or now)


def note_use(connection: Connection, token_id: str, hour: datetime) -> None:
    """Note the hour of a token's last use, unless a later one is noted."""
    used = access_tokens.c.last_used_at
    earlier = update(access_tokens).where(access_tokens.c.id == token_id, or_(used.is_(None), used < hour))
    connection.execute(earlier.values(last_used_at=hour))


def revoke(connection: Connection, token_id: str, now: datetime) -> bool:
    """Revoke a token. Return False if there is none with this id or it is already revoked."""
    changed = connection.execute(
        update(access_tokens)
        .where(access_tokens.c.id == token_id, access_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return changed.rowcount == 1


def is_revoked(connection: Connection, token_id: str) -> bool:
    """Return whether the token with this id is revoked or does not exist."""
    valid = select(access_tokens.c.id).where(access_tokens.c.id == token_id, access_tokens.c.revoked_at.is_(None))
    return connection.execute(valid).first() is None


def _row(row: tuple) -> TokenRow:  # type: ignore[type-arg]
    found = TokenRow(*row)
    return TokenRow(
        found.id,
        found.name,
        Role(found.role),
        found.created_at,
        found.expires_at,
        found.revoked_at,
        found.owner,
        found.last_used_at,
    )
