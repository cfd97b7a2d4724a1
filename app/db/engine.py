"""The database interface for actions: short read and write transactions, which commit log entries with the data.

SQLite runs with WAL, `synchronous=FULL` and `secure_delete=ON`. Write transactions start with `BEGIN IMMEDIATE`,
because a deferred transaction that becomes a writer fails with "database is locked" regardless of the busy timeout.
On PostgreSQL every transaction locks rows in the same order, to avoid deadlocks: transfers by id, the rows that belong
to them, the service's own row, counters by name, the log.
Calls are synchronous; web actions run them in worker threads. No transaction stays open while bytes stream.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from app.db import audit_rows, counter_rows
from app.db import sqlite_connections as sqlite
from app.db.errors import ChangeUndone, DatabaseUnavailable
from app.db.reserve import Reserve
from app.domain.audit_events import OPERATOR, Cause, Entry

CONNECT_SECONDS = 10
LOCK_SECONDS = sqlite.BUSY_TIMEOUT_SECONDS
STATEMENT_SECONDS = 120
"""PostgreSQL timeouts for connecting, locks and statements. The longest statements, over a sweep's batch or a page of
the log, take a second or two; migrations are exempt.
"""


BeforeCommit = Callable[[Sequence[Entry], Sequence[tuple[int, bytes]]], None]
"""Called with a transaction's log entries, and the number and leaf hash of each, before they are committed. If it
raises, nothing is committed.
"""


class Transaction:
    """A write transaction: its connection, and the counts and log entries committed with it."""

    def __init__(
        self, connection: Connection, cause: Cause | None = None, operator: Callable[[], str] | None = None
    ) -> None:
        """Start without counts and log entries. `cause` completes the entries of its actor; `operator` returns the name
        for those of an operator.
        """
        self.connection = connection
        self._cause, self._operator = cause, operator
        self.counts: Counter[str] = Counter()
        self.entries: list[Entry] = []

    def count(self, increments: Mapping[str, int]) -> None:
        """Queue increments of counters, which are applied just before the commit. Every transaction changes the same
        few rows, and none may wait for another lock while it holds them.
        """
        self.counts.update(increments)

    def log(self, *entries: Entry) -> None:
        """Queue entries to be appended just before the commit. They come last so that the log's lock is held briefly,
        and no transaction waits for a row lock while holding it.
        """
        self.entries.extend(map(self._complete, entries))

    def _complete(self, entry: Entry) -> Entry:
        if entry.actor == OPERATOR and self._operator is not None:
            entry = entry._replace(operator=self._operator())
        return entry if self._cause is None else self._cause.complete(entry)


class Database:
    """One database, SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Connect lazily: a SQLite file and its folder are created on the first connection."""
        parsed = _parsed(url)
        self.before_commit: BeforeCommit | None = None
        self.operator: Callable[[], str] | None = None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file: Path | None = Path(parsed.database) if self.is_sqlite and parsed.database else None
        # Parameter values must not appear in exception messages.
        pool: dict[str, Any] = {"hide_parameters": True, "pool_size": 10, "max_overflow": 20, "pool_use_lifo": True}
        self._writer: Engine | sqlite.KeptConnections
        if not self.is_sqlite:
            self.engine = self._writer = create_engine(
                parsed, **pool, pool_pre_ping=True, connect_args=_patience(parsed)
            )
            # Otherwise each statement would see its own snapshot: a claim, but not its share.
            self._reader: Engine | sqlite.KeptConnections = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._turn: threading.Lock | None = None
            return
        self.engine = self._sqlite_engine(parsed, sqlite.BUSY_TIMEOUT_SECONDS, **pool)
        # Writers of one process queue here for one connection, whose cache stays warm.
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
        """Create the folder before SQLite opens its file. Returns None, so that SQLAlchemy connects as usual."""
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sqlite.share_with_group(self.file)
        except OSError as error:
            raise DatabaseUnavailable(f"the database's folder cannot be created: {error.strerror}") from None
        self.reserve.give_up_if_low()  # the first connection to a file writes beside it

    @property
    def reserve(self) -> Reserve:
        """The space that deletion needs when the database's volume is full."""
        return Reserve(self.file)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a read-only transaction on one snapshot. Raises DatabaseUnavailable."""
        with _wrapped(self.file), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def reading_back(self) -> Iterator[Connection]:
        """Read what was just committed. Raises ChangeUndone if the database cannot be read: the change is then neither
        undone nor confirmed.
        """
        try:
            with self.reading() as connection:
                yield connection
        except DatabaseUnavailable as error:
            raise ChangeUndone(f"it is not known whether anything changed: {error}") from None

    @contextmanager
    def writing(self, cause: Cause | None = None) -> Iterator[Transaction]:
        """Run a write transaction, which commits together with its log entries. `cause` adds to those of its actor.
        Raises DatabaseUnavailable.
        """
        self.reserve.give_up_if_low()
        with _wrapped(self.file, self.reserve), _held(self._turn), self._writer.begin() as connection:
            transaction = Transaction(connection, cause, self.operator)
            yield transaction
            counter_rows.add(connection, transaction.counts)
            places = audit_rows.append(connection, transaction.entries)
            if self.before_commit is not None:
                self.before_commit(transaction.entries, places)

    def forget_deleted(self) -> bool:
        """Truncate SQLite's WAL, which contains deleted and overwritten pages; return whether that was observed.

        `wal_checkpoint(TRUNCATE)` does not raise if a reader keeps the WAL open: it returns `busy=1`, and the old
        pages, wrapped keys included, remain. On PostgreSQL there is nothing to do: shred keys are never stored in it.
        """
        if isinstance(self._reader, Engine):
            return True
        with _wrapped(self.file, self.reserve), _held(self._turn), self._reader.outside() as raw:
            # With a reader, each attempt would wait for the whole busy timeout while it blocks every writer.
            raw.execute(f"PRAGMA busy_timeout={sqlite.TRUNCATE_WAIT_MS}")
            try:
                return sqlite.cut_log(raw)
            finally:
                raw.execute(f"PRAGMA busy_timeout={sqlite.BUSY_TIMEOUT_SECONDS * 1000}")

    def check(self) -> None:
        """Run a trivial query. Raises DatabaseUnavailable."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._reader.dispose()
        self._writer.dispose()


def _parsed(url: str) -> URL:
    """Parse the URL of a SQLite file or of PostgreSQL with psycopg. Raises DatabaseUnavailable, without the URL, which
    may contain a password.
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
    """Return PostgreSQL's timeouts as libpq parameters; parameters in the URL take precedence."""
    limits = {"statement_timeout": STATEMENT_SECONDS, "lock_timeout": LOCK_SECONDS}
    options = " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())
    given = parsed.query.get("options")
    waits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": sqlite.BUSY_TIMEOUT_SECONDS * 1000}
    chosen = {name: value for name, value in waits.items() if name not in parsed.query}
    return {**chosen, "options": f"{options} {given}" if isinstance(given, str) else options}


@contextmanager
def _wrapped(file: Path | None, reserve: Reserve | None = None) -> Iterator[None]:
    """Convert library errors to DatabaseUnavailable, `from None`: they contain SQL, PostgreSQL's messages may quote
    rows, and a traceback would show both. If the volume is full, give up the reserve: the next attempt has its space.
    """
    try:
        yield
    except sqlite.FAILURES as error:
        if reserve is not None and sqlite.is_full(error):
            reserve.give_up()
        advice = sqlite.advice(error, file) if file is not None else ""
        raise DatabaseUnavailable(f"the database failed: {_reason(error)}{advice}") from None


def _reason(error: Exception) -> str:
    """Return the error's type, and for an OperationalError the first line of the driver's message, which contains no
    row values. Errors of Python's sqlite3 without a SQLite error code are excluded: they may quote text that is not
    UTF-8.
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
