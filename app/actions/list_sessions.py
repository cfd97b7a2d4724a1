"""List sessions, and why those that are over ended. Needs only the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.db import session_rows
from app.db.engine import Database
from app.db.session_rows import SessionRow
from app.domain.errors import SessionEnded
from app.domain.session import SessionEnding, ending_due
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


def _ending(connection: Connection, row: SessionRow, now: datetime) -> SessionEnding | None:
    try:
        credentials.require_session(connection, row, now)
    except SessionEnded:
        by_time = ending_due(used_at=row.used_at, expires_at=row.expires_at, now=now)
        return row.ending or by_time or SessionEnding.TOKEN_ENDED
    return None
