"""Find out who calls: the one function that turns an access token into a caller. Whatever fails in it denies."""

from __future__ import annotations

from app.crypto.errors import MalformedSecret
from app.crypto.token import access_token_digest, check_access_token
from app.db import access_token_rows
from app.domain.access_token import Caller, require_valid
from app.domain.errors import NotAuthenticated
from app.runtime.resources import Resources


def authenticate(resources: Resources, token: str) -> Caller:
    """The caller that this token stands for, as the database has it at this moment. Raises NotAuthenticated."""
    try:
        check_access_token(token)
    except MalformedSecret:
        raise NotAuthenticated from None
    with resources.database.reading() as connection:
        row = access_token_rows.find_by_digest(connection, access_token_digest(token))
    if row is None:
        raise NotAuthenticated
    require_valid(revoked_at=row.revoked_at, expires_at=row.expires_at, now=resources.clock.now())
    return Caller(row.id, row.name, row.role, row.expires_at, row.owner)
