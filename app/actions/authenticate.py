"""Authenticate a caller by access token or by the cookie of a session, only here. Any failure denies access."""

from __future__ import annotations

from app.crypto.errors import MalformedSecret
from app.crypto.token import access_token_digest, check_access_token, digest
from app.db import access_token_rows, session_rows
from app.db.access_token_rows import TokenRow
from app.domain.access_token import Caller, CallerSession
from app.domain.errors import NotAuthenticated
from app.lifecycle import credentials
from app.runtime.resources import Resources


def authenticate(resources: Resources, token: str) -> Caller:
    """Return the caller of this token, from the current state of the database. Raises NotAuthenticated."""
    try:
        check_access_token(token)
    except MalformedSecret:
        raise NotAuthenticated from None
    with resources.database.reading() as connection:
        row = access_token_rows.find_by_digest(connection, access_token_digest(token))
    return _of_token(credentials.require_token(row, resources.clock.now()), None)


def authenticate_session(resources: Resources, secret: bytes) -> Caller:
    """Return the caller whose session has this cookie (32 bytes), from the current state of the database. The role and
    the owner are those of the token that began the session, if one did. Raises SessionEnded.
    """
    with resources.database.reading() as connection:
        found = session_rows.find_by_digest(connection, digest(secret))
        row, token = credentials.require_session(connection, found, resources.clock.now())
    session = CallerSession(row.id, row.used_at, row.expires_at)
    if token is not None:
        return _of_token(token, session)
    return Caller(None, row.name or "", row.role, None, row.owner, person=row.person, session=session)


def check_credential(resources: Resources, caller: Caller) -> None:
    """Refuse a caller whose token or session is no longer valid. Raises NotAuthenticated, SessionEnded."""
    with resources.database.reading() as connection:
        credentials.require(connection, caller, resources.clock.now())


def check_long_answer(resources: Resources, caller: Caller) -> None:
    """Refuse to go on with an answer whose caller's credential is no longer valid; for a session, note the use. Call it
    in a thread, for each piece. Raises NotAuthenticated, SessionEnded.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        session = credentials.require(connection, caller, now)
    credentials.keep_alive(resources, session, now)


def _of_token(row: TokenRow, session: CallerSession | None) -> Caller:
    return Caller(row.id, row.name, row.role, row.expires_at, row.owner, row.last_used_at, session=session)
