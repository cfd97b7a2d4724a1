"""SQLite's connections: how each is set up, kept from one transaction to the next, begins, and gives its log up.

What `engine.py` knows of transactions holds for both databases; what only SQLite needs is here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

BUSY_TIMEOUT_SECONDS = 30
WRITER_WAIT_SECONDS = 0.0005
WRITER_CACHE_KIB = 16 * 1024
TRUNCATE_TRIES = 20
TRUNCATE_WAIT_MS = 50
TRUNCATE_PAUSE_SECONDS = 0.01

FAILURES = (SQLAlchemyError, sqlite3.Error)
"""What a transaction may raise when the database fails."""


class TrackedConnection(sqlite3.Connection):
    """A driver's connection that knows its cursors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: list[sqlite3.Cursor] = []

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor, until `close_cursors`. The driver makes one for each `execute` on a connection, too."""
        made = super().cursor(*args, **kwargs)
        self._cursors.append(made)
        return made

    def close_cursors(self) -> None:
        """End the statements that were not read to their end. SQLite goes on with them after a rollback, and after the
        connection was closed: it stays on what it saw, can never write again, and no checkpoint cuts the log. Nor does
        it help that nobody wants them any more: an exception's traceback holds what the failed function had in hand.
        """
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()


class KeptConnections:
    """Connections to a file, kept as they are from one transaction to the next. A pool does more at each turn, for the
    sake of servers that go away: as much as a small transaction costs (docs/performance.md). Nor does a transaction
    begin by an event of SQLAlchemy's: where anybody listens, it stops at each statement to ask who.
    """

    def __init__(self, engine: Engine, begin: Callable[[Any], None]) -> None:
        """Transactions on connections of this engine, each begun by `begin`."""
        self._engine, self._begin = engine, begin
        self._idle: list[Connection] = []

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction."""
        with self._lent() as connection, connection.begin():
            raw: Any = connection.connection.dbapi_connection
            try:
                self._begin(raw)
                yield connection
            finally:
                raw.close_cursors()

    @contextmanager
    def outside(self) -> Iterator[Any]:
        """The driver's connection, for what runs outside of transactions."""
        with self._lent() as connection:
            raw: Any = connection.connection.dbapi_connection
            try:
                yield raw
            finally:
                raw.close_cursors()

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        """A connection, for a while; one on which the database failed is closed."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            yield connection
        except BaseException as error:
            if isinstance(error, FAILURES):
                connection.invalidate()
            connection.close()  # back to the pool, where the next transaction finds it
            raise
        self._idle.append(connection)

    def dispose(self) -> None:
        """Close them."""
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()


def prepare(connection: Any, _record: object) -> None:
    """Set a new connection of the driver up. Raises sqlite3.OperationalError when the file stays locked."""
    connection.isolation_level = None  # the driver must not begin transactions of its own
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "temp_store=MEMORY",  # sorting must not write pieces of rows to a temporary file
    ):
        _in_turn(connection, f"PRAGMA {pragma}")  # setting the mode, or the first look at the file, may meet a lock


def widen_cache(connection: Any, _record: object) -> None:
    """A bulk deletion touches the log's indexes all over; what is not in the cache is read and written once more."""
    connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")


def cut_log(raw: Any) -> bool:
    """Cut SQLite's write-ahead log; False when a reader outlasted all tries."""
    for _ in range(TRUNCATE_TRIES):
        busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
        time.sleep(TRUNCATE_PAUSE_SECONDS)
    return False


def begin_reading(raw: Any) -> None:
    """Begin by hand, as the driver is told not to."""
    raw.execute("BEGIN")


def begin_writing(raw: Any) -> None:
    """Begin as a writer, in turn with other processes. Raises sqlite3.OperationalError when the turn does not come."""
    _in_turn(raw, "BEGIN IMMEDIATE")


def _in_turn(raw: Any, statement: str) -> None:
    """Other processes hold the lock for a millisecond or two; SQLite's own waiting soon sleeps 50 to 100 ms a turn."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            raw.execute(statement)
        except sqlite3.OperationalError as error:
            # The lowest byte: also while another process recovers the log (https://sqlite.org/rescode.html). But not
            # when this connection itself still reads an older state: no waiting ends that.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            hopeless = error.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
            if not busy or hopeless or time.monotonic() >= give_up_at:
                raise
        else:
            return
        time.sleep(WRITER_WAIT_SECONDS)
