"""What somebody with full rights over the database does first: switch off what keeps the log from being changed."""

import sqlite3

from sqlalchemy import Connection, text


def take_full_rights(connection: Connection) -> None:
    """Until the end of the transaction on PostgreSQL, for good on SQLite."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        return
    for name in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        connection.execute(text(f'DROP TRIGGER "{name}"'))


def drop_triggers(connection: sqlite3.Connection) -> None:
    """The same, on a SQLite file that is opened behind the program's back."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
