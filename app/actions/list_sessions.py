"""List sessions. Needs only the database."""

from __future__ import annotations

from app.db import session_rows
from app.db.engine import Database
from app.db.session_rows import SessionRow


def list_sessions(database: Database, *, ended: bool) -> list[SessionRow]:
    """Return the sessions that run, oldest first; with `ended`, also those that ended within the log's retention."""
    with database.reading() as connection:
        return session_rows.every(connection, ended=ended)
