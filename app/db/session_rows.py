"""Rows of sessions, and of logout tokens that were accepted. Only digests of cookies and of token ids are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from app.db.tables import access_tokens, logout_tokens, sessions
from app.domain.access_token import Role, actor_of
from app.domain.session import IDLE, SessionEnding
from app.domain.sign_in import subject_of
from app.domain.transfer_list import Position, cut_page


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session without its cookie."""

    id: str
    token_id: str | None
    person: str | None
    subject: str | None
    provider_session: str | None
    name: str | None
    role: Role
    owner: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    ending: SessionEnding | None = None

    @property
    def actor(self) -> str:
        """The name in the log of whoever signed in."""
        return actor_of(self.token_id, self.person)


_COLUMNS = [sessions.c[name] for name in SessionRow.__dataclass_fields__]
_OF_DIGEST = select(*_COLUMNS).where(sessions.c.digest == bindparam("of_digest"))  # built once: for every request
_OF_ID = select(*_COLUMNS).where(sessions.c.id == bindparam("of_id"))


def create(connection: Connection, row: SessionRow, digest: bytes) -> None:
    """Store a new session with the digest of its cookie."""
    values = {name: getattr(row, name) for name in SessionRow.__dataclass_fields__}
    connection.execute(insert(sessions).values(digest=digest, **values))


def find_by_digest(connection: Connection, digest: bytes) -> SessionRow | None:
    """Return the session whose cookie has this digest (32 bytes), or None. A session that ended has none."""
    row = connection.execute(_OF_DIGEST, {"of_digest": digest}).first()
    return _row(row) if row else None


def find(connection: Connection, session_id: str) -> SessionRow | None:
    """Return the session with this id, or None."""
    row = connection.execute(_OF_ID, {"of_id": session_id}).first()
    return _row(row) if row else None


def every(connection: Connection, *, ended: bool) -> list[SessionRow]:
    """Return the sessions that have not been ended, or, with `ended`, all that are still recorded; oldest first."""
    query = select(*_COLUMNS).order_by(sessions.c.created_at, sessions.c.id)
    return [_row(row) for row in connection.execute(query if ended else query.where(sessions.c.ended_at.is_(None)))]


def page(
    connection: Connection, after: Position | None, limit: int, *, ended: bool
) -> tuple[list[SessionRow], Position | None]:
    """Return up to `limit` sessions after a position, newest first, and the position of the last one if there are more;
    without `ended`, only those that have not been ended.
    """
    order = sessions.c.created_at, sessions.c.id
    query = select(*_COLUMNS).order_by(*(column.desc() for column in order)).limit(limit + 1)
    if not ended:
        query = query.where(sessions.c.ended_at.is_(None))
    if after is not None:
        query = query.where(tuple_(*order) < (after.created_at, after.row_id))
    return cut_page([_row(row) for row in connection.execute(query)], limit)


def note_use(connection: Connection, session_id: str, now: datetime) -> None:
    """Note a use of a session, unless a later one is noted or the session has ended."""
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.used_at < now, sessions.c.ended_at.is_(None))
        .values(used_at=now)
    )


def end(connection: Connection, session_id: str, ending: SessionEnding, now: datetime) -> bool:
    """End a session, whose cookie nobody can present any more. Return False if it does not exist or has ended."""
    ended = connection.execute(
        update(sessions)
        .where(sessions.c.id == session_id, sessions.c.ended_at.is_(None))
        .values(ended_at=now, ending=ending.value, digest=None)
    )
    return ended.rowcount == 1


def of_subject(connection: Connection, subject: str, provider_session: str | None) -> list[SessionRow]:
    """Return the running sessions of a person; with `provider_session`, those that this session of the provider began,
    and those for which the provider named none.
    """
    query = select(*_COLUMNS).where(sessions.c.subject == subject, sessions.c.ended_at.is_(None))
    if provider_session is not None:
        began = sessions.c.provider_session
        query = query.where(or_(began == provider_session, began.is_(None)))
    return [_row(row) for row in connection.execute(query)]


def of_provider_session(connection: Connection, issuer: str, provider_session: str) -> list[SessionRow]:
    """Return the running sessions that a session of this provider began."""
    query = select(*_COLUMNS).where(
        sessions.c.subject.startswith(subject_of(issuer, ""), autoescape=True),
        sessions.c.provider_session == provider_session,
        sessions.c.ended_at.is_(None),
    )
    return [_row(row) for row in connection.execute(query)]


def due(connection: Connection, now: datetime, limit: int) -> list[SessionRow]:
    """Return up to `limit` sessions that are to be ended: expired, idle, or begun by a token that is valid no more."""
    over = or_(
        sessions.c.expires_at <= now,
        sessions.c.used_at <= now - IDLE,
        access_tokens.c.revoked_at.is_not(None),
        access_tokens.c.expires_at <= now,
    )
    query = select(*_COLUMNS).outerjoin(access_tokens, access_tokens.c.id == sessions.c.token_id)
    return [_row(row) for row in connection.execute(query.where(sessions.c.ended_at.is_(None), over).limit(limit))]


def forget(connection: Connection, now: datetime, kept: timedelta) -> None:
    """Remove the rows of sessions that ended longer ago than `kept`, and logout tokens that their age refuses."""
    connection.execute(delete(sessions).where(sessions.c.ended_at < now - kept))
    connection.execute(delete(logout_tokens).where(logout_tokens.c.kept_until <= now))


def accept_logout_token(connection: Connection, digest: bytes, kept_until: datetime) -> bool:
    """Record a logout token by the digest of its id. Return False if it was accepted before."""
    try:
        with connection.begin_nested():
            connection.execute(insert(logout_tokens).values(digest=digest, kept_until=kept_until))
    except IntegrityError:
        return False
    return True


def _row(row: Row[tuple[object, ...]] | Sequence[object]) -> SessionRow:
    values = dict(zip(SessionRow.__dataclass_fields__, row, strict=True))
    ending = values["ending"]
    values |= {"role": Role(str(values["role"])), "ending": None if ending is None else SessionEnding(str(ending))}
    return SessionRow(**values)  # type: ignore[arg-type]  # the columns have the fields' types
