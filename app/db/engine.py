"""The database as actions see it: short transactions to read, to write, and the entries each act leaves in the log.

SQLite runs with WAL, `synchronous=FULL` and `secure_delete=ON`; whoever will write begins with `BEGIN IMMEDIATE`,
since a deferred transaction that turns into a writer fails with "database is locked" however long it may wait.
Calls are synchronous: the web's actions make them in worker threads. No transaction stays open while bytes stream.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from app.db import audit_rows
from app.db import sqlite_connections as sqlite
from app.db.errors import DatabaseUnavailable
from app.domain.audit_events import Entry

CONNECT_SECONDS = 10
LOCK_SECONDS = sqlite.BUSY_TIMEOUT_SECONDS
STATEMENT_SECONDS = 120
"""On PostgreSQL nothing waits for ever: a server that does not answer, a lock, a statement. The longest statements are
those over a sweep's batch and a page of the log, a second or two each; migrations are exempt.
"""


class Transaction:
    """A transaction that writes: its connection, and the log entries that are committed with it."""

    def __init__(self, connection: Connection) -> None:
        """Start with no entry."""
        self.connection = connection
        self.entries: list[Entry] = []

    def log(self, *entries: Entry) -> None:
        """Have these entries appended just before the commit. Last, so that the log's lock is held shortly and no
        transaction waits for a row while holding it.
        """
        self.entries.extend(entries)


class Database:
    """One database, SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Connect lazily; nothing is made before. A SQLite file's folder is made with the file."""
        parsed = _parsed(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file: Path | None = Path(parsed.database) if self.is_sqlite and parsed.database else None
        # Statements' values must not reach an exception's text.
        pool: dict[str, Any] = {"hide_parameters": True, "pool_size": 10, "max_overflow": 20, "pool_use_lifo": True}
        self._writer: Engine | sqlite.KeptConnections
        if not self.is_sqlite:
            self.engine = self._writer = create_engine(
                parsed, **pool, pool_pre_ping=True, connect_args=_patience(parsed)
            )
            # Else each statement would see another state, and a claim without the share it was made of.
            self._reader: Engine | sqlite.KeptConnections = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._turn: threading.Lock | None = None
            return
        self.engine = self._sqlite_engine(parsed, sqlite.BUSY_TIMEOUT_SECONDS, **pool)
        # Writers of one process queue here, fairly and at once, for one connection, whose cache stays warm.
        self._turn = threading.Lock()
        writer = self._sqlite_engine(parsed, 0, hide_parameters=True, pool_size=1)
        event.listen(writer, "connect", sqlite.widen_cache)
        self._reader = sqlite.KeptConnections(self.engine, sqlite.begin_reading)
        self._writer = sqlite.KeptConnections(writer, sqlite.begin_writing)

    def _sqlite_engine(self, url: URL, timeout: float, **pool: Any) -> Engine:
        engine = create_engine(url, connect_args={"timeout": timeout, "factory": sqlite.TrackedConnection}, **pool)
        event.listen(engine, "do_connect", self._make_folder)
        event.listen(engine, "connect", sqlite.prepare)
        return engine

    def _make_folder(self, *_connecting: object) -> None:
        """Before SQLite opens its file. Answers nothing: SQLAlchemy then connects as it would have."""
        if self.file and not self.file.parent.is_dir():
            try:
                self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise DatabaseUnavailable(f"the database's folder cannot be made: {error.strerror}") from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, on one consistent state. Raises DatabaseUnavailable."""
        with _wrapped(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction that writes: committed with its log entries, or nothing of it. Raises DatabaseUnavailable."""
        with _wrapped(), _held(self._turn), self._writer.begin() as connection:
            transaction = Transaction(connection)
            yield transaction
            audit_rows.append(connection, transaction.entries)

    def forget_deleted(self) -> bool:
        """Remove from SQLite's write-ahead log what was deleted or overwritten; True once it is observed.

        `wal_checkpoint(TRUNCATE)` raises nothing when a reader keeps the log open: it answers `busy=1`, and the old
        pages, wrapped keys included, stay. PostgreSQL: nothing to do here, shred keys never enter it.
        """
        if isinstance(self._reader, Engine):
            return True
        with _wrapped(), _held(self._turn), self._reader.outside() as raw:
            # For a reader a checkpoint would wait out the busy timeout, at each try, while every writer waits for it.
            raw.execute(f"PRAGMA busy_timeout={sqlite.TRUNCATE_WAIT_MS}")
            try:
                return sqlite.cut_log(raw)
            finally:
                raw.execute(f"PRAGMA busy_timeout={sqlite.BUSY_TIMEOUT_SECONDS * 1000}")

    def check(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._reader.dispose()
        self._writer.dispose()


def _parsed(url: str) -> URL:
    """The URL of a SQLite file or of PostgreSQL by psycopg. Raises DatabaseUnavailable, without the URL: it may hold a
    password.
    """
    try:
        parsed = make_url(url)
        kind = parsed.get_dialect().name, parsed.get_driver_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        kind = None
    if kind == ("sqlite", "pysqlite") and parsed.database not in {None, "", ":memory:"}:
        return parsed
    if kind == ("postgresql", "psycopg"):
        return parsed
    raise DatabaseUnavailable(
        "CADUCEE_DATABASE_URL is neither sqlite:///path/to/file nor postgresql+psycopg://user@host/name"
    )


def _patience(parsed: URL) -> dict[str, object]:
    """How long PostgreSQL's driver and server wait, as libpq names it; what the URL says itself comes last and wins."""
    limits = {"statement_timeout": STATEMENT_SECONDS, "lock_timeout": LOCK_SECONDS}
    options = " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())
    given = parsed.query.get("options")
    waits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": sqlite.BUSY_TIMEOUT_SECONDS * 1000}
    chosen = {name: value for name, value in waits.items() if name not in parsed.query}
    return {**chosen, "options": f"{options} {given}" if isinstance(given, str) else options}


@contextmanager
def _wrapped() -> Iterator[None]:
    """Library errors are wrapped, never leaked: they hold SQL, and what PostgreSQL says of a row quotes the row. A
    traceback would show them, so none leads to them.
    """
    try:
        yield
    except sqlite.FAILURES as error:
        raise DatabaseUnavailable(f"the database failed: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Why, as far as it can hold no value of a row: for failures to connect and the like, the driver's first line. Not
    of what Python's driver says by itself, without a code of SQLite's: it quotes a text that is no UTF-8.
    """
    cause = getattr(error, "orig", None)
    quotes = isinstance(cause, sqlite3.Error) and not hasattr(cause, "sqlite_errorcode")
    said = "" if quotes else str(cause or "").partition("\n")[0]
    return f"{type(error).__name__}: {said}" if isinstance(error, OperationalError) and said else type(error).__name__


@contextmanager
def _held(lock: threading.Lock | None) -> Iterator[None]:
    if lock is None:
        yield
        return
    if not lock.acquire(timeout=sqlite.BUSY_TIMEOUT_SECONDS):
        raise DatabaseUnavailable("the database stayed busy")
    try:
        yield
    finally:
        lock.release()
