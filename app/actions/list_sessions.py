"""List sessions, and why those that are over ended. Needs only the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.crypto.token import is_id
from app.db import session_rows
from app.db.engine import Database
from app.db.session_rows import SessionRow
from app.domain.errors import SessionEnded, SessionNotFound
from app.domain.session import SessionEnding, ending_due
from app.domain.transfer_list import Position
from app.lifecycle import credentials


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session. `ending` is why requests refuse it, None while it runs."""

    row: SessionRow
    ending: SessionEnding | None


def list_sessions(database: Database, now: datetime, *, ended: bool) -> list[ListedSession]:
    """Return the sessions that run, oldest first; with `ended`, also those that ended within the log's retention.

    A session is over as soon as requests refuse it, even if `end_due_sessions` has not ended it yet.
    """
    with database.reading() as connection:
        listed = [
            ListedSession(row, _ending(connection, row, now)) for row in session_rows.every(connection, ended=ended)
        ]
    return [each for each in listed if ended or each.ending is None]


def show_session(database: Database, now: datetime, session_id: str) -> ListedSession:
    """Return a session. Raises SessionNotFound."""
    with database.reading() as connection:
        row = session_rows.find(connection, session_id) if is_id(session_id) else None
        if row is None:
            raise SessionNotFound
        return ListedSession(row, _ending(connection, row, now))


def page_of_sessions(
    database: Database, now: datetime, *, ended: bool, after: Position | None, limit: int
) -> tuple[list[ListedSession], Position | None]:
    """Return a page of what `list_sessions` returns, newest first, and where the next one begins. A page without ended
    sessions may be shorter than `limit`, because some are over that nothing has ended yet.
    """
    with database.reading() as connection:
        rows, following = session_rows.page(connection, after, limit, ended=ended)
        listed = [ListedSession(row, _ending(connection, row, now)) for row in rows]
    return [each for each in listed if ended or each.ending is None], following


def _ending(connection: Connection, row: SessionRow, now: datetime) -> SessionEnding | None:
    try:
        credentials.require_session(connection, row, now)
    except SessionEnded:
        by_time = ending_due(used_at=row.used_at, expires_at=row.expires_at, now=now)
        return row.ending or by_time or SessionEnding.TOKEN_ENDED
    return None
