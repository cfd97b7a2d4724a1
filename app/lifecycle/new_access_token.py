"""A new access token: its row and its log entry, in one transaction. Only its digest is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.crypto.token import access_token_digest, new_access_token
from app.db import access_token_rows
from app.db.access_token_rows import TokenRow
from app.db.engine import Transaction
from app.domain.access_token import Role, checked_owner, owner_named
from app.domain.audit_events import Entry, Event
from app.domain.errors import InvalidRequest, OwnerTaken
from app.domain.transfer import checked_free_text


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token to issue. A `lifetime` of None means that it does not expire; an `owner` of None means an owner of its
    own, named after the token.
    """

    name: str
    role: Role
    lifetime: timedelta | None
    owner: str | None = None

    def row(self, token_id: str, now: datetime) -> TokenRow:
        """Return the row of this token. Raises InvalidRequest for an invalid name or owner."""
        name = checked_free_text(self.name, field="name")
        if name is None:
            raise InvalidRequest("A token needs a name.")
        return TokenRow(
            id=token_id,
            name=name,
            role=self.role,
            created_at=now,
            expires_at=None if self.lifetime is None else now + self.lifetime,
            revoked_at=None,
            owner=owner_named(name) if self.owner is None else checked_owner(self.owner),
        )


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token's row and the token itself, which is stored nowhere."""

    row: TokenRow
    token: str
    replaced: bool = False
    """Whether this is a new secret of a token that was issued before, whose earlier secret opens nothing now."""

    def __repr__(self) -> str:
        """Without the token."""
        return f"IssuedToken({self.row.id})"


def create(transaction: Transaction, row: TokenRow, *, actor: str) -> IssuedToken:
    """Store a new token of this row, and log it."""
    token = new_access_token()
    access_token_rows.create(transaction.connection, row, access_token_digest(token))
    transaction.log(created_entry(row, row.created_at, actor))
    return IssuedToken(row, token)


def require_own_owner(transaction: Transaction, owner: str, *, advice: str) -> None:
    """Raise OwnerTaken if a token, revoked or not, has this owner, so that tokens never share transfers merely because
    their names are equal. `advice`: the detail of the refusal.
    """
    if access_token_rows.is_owner(transaction.connection, owner):
        raise OwnerTaken(advice)


def created_entry(row: TokenRow, at: datetime, actor: str, *, outcome: str | None = None) -> Entry:
    """Return the log entry of a token that was created."""
    return Entry(
        event=Event.TOKEN_CREATED,
        at=at,
        actor=actor,
        token=row.id,
        role=row.role.value,
        expires_at=row.expires_at,
        owner=row.owner,
        outcome=outcome,
    )
