"""Connections to the PostgreSQL instance that holds a key vault: bounded waits, and errors without values.

A server that accepts connections and does not respond must not hold up a download for long, so every wait is bounded
here, not only by the server: a watchdog closes the socket of a statement that takes too long.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from app.storage.errors import VaultUnavailable

CONNECT_SECONDS = 5
LOOK_SECONDS = 5
LOCK_SECONDS = 10
STATEMENT_SECONDS = 15
"""The longest wait of a check, which all downloads of a process share; for a lock; for any other statement. Erasure has
a limit of its own.
"""
POOL, OVERFLOW = 4, 28

_UNDEFINED = frozenset({"42P01", "3F000"})
_PERMISSION = "42501"


def is_undefined(error: DBAPIError) -> bool:
    """Return whether a table or schema does not exist."""
    return getattr(error.orig, "sqlstate", None) in _UNDEFINED


@contextmanager
def as_unavailable(doing: str) -> Iterator[None]:
    """Turn errors of the driver into VaultUnavailable, `from None`: they contain SQL, and may quote values."""
    try:
        yield
    except SQLAlchemyError as error:
        raise VaultUnavailable(f"key vault, {doing}: {_reason(error)}") from None


def _reason(error: SQLAlchemyError) -> str:
    """Return the error's type; also the server's first line if it cannot contain a value."""
    cause = getattr(error, "orig", None)
    quotable = isinstance(error, OperationalError) or getattr(cause, "sqlstate", None) == _PERMISSION
    said = str(cause or "").partition("\n")[0] if quotable else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class VaultConnections:
    """A pool of connections to one database."""

    def __init__(self, url: str) -> None:
        """Connect lazily."""
        parsed = make_url(url)
        self.name = f"postgresql://{parsed.host or parsed.query.get('host') or ''}/{parsed.database}"
        limits = {"lock_timeout": LOCK_SECONDS, "statement_timeout": STATEMENT_SECONDS}
        asked = parsed.query.get("options")
        options = " ".join([*(f"-c {name}={seconds}s" for name, seconds in limits.items()), str(asked or "")])
        given: dict[str, Any] = {
            "options": f"{options} -c client_min_messages=warning",
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": LOCK_SECONDS * 1000,
            "prepare_threshold": None,  # tables come and go with the hours
        }
        self._engine = create_engine(
            parsed,
            connect_args=given,
            hide_parameters=True,
            pool_size=POOL,
            max_overflow=OVERFLOW,
            pool_timeout=CONNECT_SECONDS,
            pool_use_lifo=True,
        )

    @contextmanager
    def transaction(self, doing: str, *, seconds: int | None = None) -> Iterator[Connection]:
        """Run one transaction, in at most `seconds` altogether. Raises VaultUnavailable."""
        limit = seconds or STATEMENT_SECONDS + LOCK_SECONDS
        with as_unavailable(doing), self._connected() as connection, watched(connection, limit), connection.begin():
            if seconds is not None:
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{seconds}s'")
            yield connection

    @contextmanager
    def session(self, doing: str, *, seconds: int) -> Iterator[Connection]:
        """Run statements that commit one by one, in at most `seconds` altogether. Raises VaultUnavailable."""
        with as_unavailable(doing), self._connected() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            with watched(connection, seconds):
                connection.exec_driver_sql(f"SET statement_timeout = '{seconds}s'")
                yield connection
                connection.exec_driver_sql("RESET statement_timeout")

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Yield a connection that works: a pooled one may have outlived its server."""
        connection = self._engine.connect()
        try:
            with watched(connection, CONNECT_SECONDS):
                connection.exec_driver_sql("SELECT 1")
                connection.rollback()
        except DBAPIError as error:
            connection.close()
            if not error.connection_invalidated:
                raise
            connection = self._engine.connect()
        with connection:
            yield connection


@contextmanager
def watched(connection: Connection, seconds: float) -> Iterator[None]:
    """Shut the connection's socket down after `seconds`, so that the driver stops waiting and raises."""
    driver: Any = connection.connection.driver_connection
    with socket.socket(fileno=os.dup(driver.fileno())) as peer:
        watchdog = threading.Timer(seconds, _shut_down, [peer])
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()


def _shut_down(peer: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        peer.shutdown(socket.SHUT_RDWR)


class HourGone(Exception):
    """A table of an hour does not exist (any more)."""


@contextmanager
def hour_gone_if_undefined() -> Iterator[None]:
    """Raise HourGone if a statement names the table of an hour that does not exist."""
    try:
        yield
    except DBAPIError as error:
        if is_undefined(error):
            raise HourGone from None
        raise
