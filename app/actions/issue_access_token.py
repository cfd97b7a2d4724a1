"""Issue an access token to a member of staff, an auditor or an administrator. The token is shown only once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from app.crypto.token import access_token_digest, new_access_token, new_id
from app.db import access_token_rows
from app.domain.access_token import Role, checked_owner, owner_named
from app.domain.audit_events import Entry, Event
from app.domain.errors import InvalidRequest, OwnerTaken
from app.domain.transfer import checked_free_text
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token's row and the token itself, which is stored nowhere."""

    row: access_token_rows.TokenRow
    token: str

    def __repr__(self) -> str:
        """Without the token."""
        return f"IssuedToken({self.row.id})"


def issue_access_token(
    resources: Resources, *, name: str, role: Role, lifetime: timedelta | None, owner: str | None = None
) -> IssuedToken:
    """Issue a token with access to the transfers of `owner`; None means an owner of its own, named after the token. A
    `lifetime` of None means that the token does not expire.

    Raises InvalidRequest for an invalid name or owner; OwnerTaken if `owner` is None and the owner of that name already
    has a token, revoked or not, so that tokens never share transfers merely because their names are equal.
    """
    checked = checked_free_text(name, field="name")
    if checked is None:
        raise InvalidRequest("A token needs a name.")
    now = resources.clock.now()
    token = new_access_token()
    row = access_token_rows.TokenRow(
        id=new_id(),
        name=checked,
        role=role,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
        revoked_at=None,
        owner=owner_named(checked) if owner is None else checked_owner(owner),
    )
    with resources.database.writing() as transaction:
        if owner is None and access_token_rows.is_owner(transaction.connection, row.owner):
            raise OwnerTaken(f"{row.owner} already has a token: choose another name, or pass --owner '{row.owner}'.")
        access_token_rows.create(transaction.connection, row, access_token_digest(token))
        transaction.log(
            Entry(
                event=Event.TOKEN_CREATED,
                at=now,
                actor="operator",
                token=row.id,
                role=role.value,
                expires_at=row.expires_at,
                owner=row.owner,
            )
        )
    return IssuedToken(row, token)
