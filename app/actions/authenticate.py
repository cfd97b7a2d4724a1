"""Authenticate a caller by access token, only here. Any failure denies access."""

from __future__ import annotations

from app.crypto.errors import MalformedSecret
from app.crypto.token import access_token_digest, check_access_token
from app.db import access_token_rows
from app.domain.access_token import Caller, require_valid
from app.domain.errors import NotAuthenticated
from app.runtime.resources import Resources


def authenticate(resources: Resources, token: str) -> Caller:
    """Return the caller of this token, from the current state of the database. Raises NotAuthenticated."""
    try:
        check_access_token(token)
    except MalformedSecret:
        raise NotAuthenticated from None
    with resources.database.reading() as connection:
        row = access_token_rows.find_by_digest(connection, access_token_digest(token))
    if row is None:
        raise NotAuthenticated
    require_valid(revoked_at=row.revoked_at, expires_at=row.expires_at, now=resources.clock.now())
    return Caller(row.id, row.name, row.role, row.expires_at, row.owner, row.last_used_at)
