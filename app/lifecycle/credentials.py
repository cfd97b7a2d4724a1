"""Whether a caller's own credential, a token or a session, is still valid while its request runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from app.db import access_token_rows, session_rows
from app.db.access_token_rows import TokenRow
from app.db.session_rows import SessionRow
from app.domain.access_token import Caller, require_valid
from app.domain.errors import NotAuthenticated, SessionEnded
from app.domain.session import require_running, use_is_due
from app.runtime.resources import Resources


def require(connection: Connection, caller: Caller | None, now: datetime) -> SessionRow | None:
    """Refuse what the caller does once its own credential, not the transfer's, is revoked, ended or expired. Return the
    session, None for a token. An operator (None) needs no credential.

    Raises NotAuthenticated, SessionEnded.
    """
    if caller is None:
        return None
    if caller.session is None:
        require_token(access_token_rows.find(connection, caller.token_id or ""), now)
        return None
    session, _ = require_session(connection, session_rows.find(connection, caller.session.id), now)
    return session


def require_token(token: TokenRow | None, now: datetime) -> TokenRow:
    """Return the token if it is valid. Raises NotAuthenticated."""
    if token is None:
        raise NotAuthenticated
    require_valid(revoked_at=token.revoked_at, expires_at=token.expires_at, now=now)
    return token


def require_session(
    connection: Connection, row: SessionRow | None, now: datetime
) -> tuple[SessionRow, TokenRow | None]:
    """Return the session, and the token that began it, None if a provider did. A session ends with its token.

    Raises SessionEnded.
    """
    if row is None:
        raise SessionEnded
    require_running(used_at=row.used_at, expires_at=row.expires_at, ended_at=row.ended_at, now=now)
    if row.token_id is None:
        return row, None
    try:
        return row, require_token(access_token_rows.find(connection, row.token_id), now)
    except NotAuthenticated:
        raise SessionEnded from None


def keep_alive(resources: Resources, session: SessionRow | None, now: datetime) -> None:
    """Note the use of a session by a request that still runs, at most once a minute."""
    if session is not None and use_is_due(session.used_at, now):
        with resources.database.writing() as transaction:
            session_rows.note_use(transaction.connection, session.id, now)
