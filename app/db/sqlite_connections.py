"""SQLite connections: setup, reuse, beginning transactions, and truncating the WAL.

`engine.py` has the code common to both databases; this module has SQLite's.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
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
"""Exceptions that a transaction may raise when the database fails."""


_NO_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
"""Error codes of a write without space; the second is that of an exhausted quota (EDQUOT)."""


class TrackedConnection(sqlite3.Connection):
    """A sqlite3 connection that tracks its cursors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: list[sqlite3.Cursor] = []

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor that `close_cursors` will close. The driver also creates one per `Connection.execute`."""
        made = super().cursor(*args, **kwargs)
        self._cursors.append(made)
        return made

    def close_cursors(self) -> None:
        """Close statements that were not read to their end. SQLite keeps them running after a rollback and even after
        the connection was closed: the connection keeps its snapshot, can never write again, and blocks checkpoints from
        truncating the WAL. Garbage collection does not help, because an exception's traceback may reference them.
        """
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()


class KeptConnections:
    """Connections to a file, reused without a pool's checks for lost servers, which cost as much as a small transaction
    (docs/performance.md). Transactions do not begin in a SQLAlchemy event handler either: a registered handler slows
    down every statement.
    """

    def __init__(self, engine: Engine, begin: Callable[[Any], None]) -> None:
        """Use connections of this engine; `begin` starts each transaction."""
        self._engine, self._begin = engine, begin
        self._idle: list[Connection] = []

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Run a transaction: commit at the end, roll back on an exception."""
        with self._lent() as connection, connection.begin():
            raw: Any = connection.connection.dbapi_connection
            try:
                self._begin(raw)
                yield connection
            finally:
                raw.close_cursors()

    @contextmanager
    def outside(self) -> Iterator[Any]:
        """Yield the driver's connection, for statements outside of transactions."""
        with self._lent() as connection:
            raw: Any = connection.connection.dbapi_connection
            try:
                yield raw
            finally:
                raw.close_cursors()

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        """Lend a connection; one on which the database failed is closed."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            yield connection
        except BaseException as error:
            if isinstance(error, FAILURES):
                connection.invalidate()
            connection.close()  # returns it to the pool for the next transaction
            raise
        self._idle.append(connection)

    def dispose(self) -> None:
        """Close all idle connections and the engine."""
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()


def share_with_group(file: Path) -> None:
    """Create the database's file with mode 0660 if its folder's setgid bit says that a group shares it. SQLite would
    create it for one user, and gives its WAL the same mode.
    """
    if file.exists() or not file.parent.stat().st_mode & stat.S_ISGID:
        return
    with suppress(FileExistsError):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o660)
        os.fchmod(descriptor, 0o660)  # whatever the umask
        os.close(descriptor)


def prepare(connection: Any, _record: object) -> None:
    """Configure a new driver connection. Raises sqlite3.OperationalError if the file stays locked."""
    connection.isolation_level = None  # the driver must not begin transactions itself
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "temp_store=MEMORY",  # sorting must not write row data to a temporary file
    ):
        _in_turn(connection, f"PRAGMA {pragma}")  # setting the mode, or the first access to the file, may hit a lock


def widen_cache(connection: Any, _record: object) -> None:
    """Enlarge the writer's page cache: a bulk deletion touches pages all over the log's indexes."""
    connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")


def cut_log(raw: Any) -> bool:
    """Truncate SQLite's WAL; return False if readers blocked all attempts."""
    for _ in range(TRUNCATE_TRIES):
        busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return True
        time.sleep(TRUNCATE_PAUSE_SECONDS)
    return False


def is_full(error: Exception) -> bool:
    """Return whether SQLite failed for want of space."""
    return getattr(getattr(error, "orig", error), "sqlite_errorcode", None) in _NO_SPACE


def advice(error: Exception, file: Path) -> str:
    """Return what to add to the message about a failure of the database in this file: what an operator can do."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    if code in _NO_SPACE:
        return f"; free space on the volume of {file}"
    if code is not None and code & 0xFF == sqlite3.SQLITE_READONLY:
        return f"; this user may not write to {file}, its folder, or the files {file.name}-wal and -shm beside it"
    return ""


def begin_reading(raw: Any) -> None:
    """Begin explicitly, because the driver is configured not to."""
    raw.execute("BEGIN")


def begin_writing(raw: Any) -> None:
    """Begin a write transaction. Raises sqlite3.OperationalError if other processes hold the lock for too long."""
    _in_turn(raw, "BEGIN IMMEDIATE")


def _in_turn(raw: Any, statement: str) -> None:
    """Run a statement, and retry it while the database is locked, up to BUSY_TIMEOUT_SECONDS. Other processes hold the
    lock for a millisecond or two, but SQLite's own busy handler soon sleeps for 50 to 100 ms.
    """
    give_up_at = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            raw.execute(statement)
        except sqlite3.OperationalError as error:
            # The lowest byte also covers SQLITE_BUSY_RECOVERY (https://sqlite.org/rescode.html). SQLITE_BUSY_SNAPSHOT
            # is final: this connection itself still reads an older snapshot.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            hopeless = error.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
            if not busy or hopeless or time.monotonic() >= give_up_at:
                raise
        else:
            return
        time.sleep(WRITER_WAIT_SECONDS)
