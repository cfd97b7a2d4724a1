"""Issue an access token to a member of staff, an auditor or an administrator. The token is shown only once."""

from __future__ import annotations

from datetime import timedelta

from app.crypto.token import new_id
from app.domain.access_token import Role
from app.domain.audit_events import OPERATOR
from app.lifecycle import new_access_token
from app.lifecycle.new_access_token import IssuedToken, TokenRequest
from app.runtime.resources import Resources

__all__ = ["IssuedToken", "issue_access_token"]


def issue_access_token(
    resources: Resources, *, name: str, role: Role, lifetime: timedelta | None, owner: str | None = None
) -> IssuedToken:
    """Issue a token with access to the transfers of `owner`; None means an owner of its own, named after the token. A
    `lifetime` of None means that the token does not expire.

    Raises InvalidRequest for an invalid name or owner; OwnerTaken if `owner` is None and the owner of that name already
    has a token, revoked or not.
    """
    row = TokenRequest(name, role, lifetime, owner).row(new_id(), resources.clock.now())
    advice = f"{row.owner} already has a token: choose another name, or pass --owner '{row.owner}'."
    with resources.database.writing() as transaction:
        if owner is None:
            new_access_token.require_own_owner(transaction, row.owner, advice=advice)
        return new_access_token.create(transaction, row, actor=OPERATOR)
