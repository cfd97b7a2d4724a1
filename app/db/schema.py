"""The schema: creating it, upgrading it, and refusing to run on another version.

Alembic is imported only to change a schema, because every command and process checks the version at startup.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import inspect, select, text

import migrations
from app.db.engine import Database
from app.db.errors import SchemaOutdated
from app.db.tables import schema_compatibility

MIGRATIONS = Path(migrations.__file__).parent
LOCK_SECONDS = 5
"""How long a migration waits for a lock on PostgreSQL: behind it, every request for that table waits, too."""


_POSTGRESQL_TRIGGERS = {
    f"{table}_{what}"
    for table in ("audit_entries", "audit_nodes", "audit_boundaries")
    for what in ("kept", "not_emptied")
}


@cache
def newest_revision() -> str:
    """Return the revision that this program requires: the number of its last migration (`versions/NNNN_what.py`)."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def current_revision(database: Database) -> str | None:
    """Return the revision of the database, or None if it is empty."""
    with database.reading() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def upgrade(database: Database) -> None:
    """Upgrade the schema to this program's version, in one transaction. Raises DatabaseUnavailable, with nothing
    changed, if others keep a lock.
    """
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.writing() as transaction:
        if not database.is_sqlite:
            transaction.connection.execute(text("SET LOCAL statement_timeout = 0"))  # no limit: large tables take long
            transaction.connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        config.attributes["connection"] = transaction.connection
        command.upgrade(config, "head")


def strange_triggers(database: Database) -> list[str]:
    """Return the names of triggers that differ from the migrations': additional, changed and missing ones. On
    PostgreSQL only the names are compared.
    """
    if not database.is_sqlite:
        with database.reading() as connection:
            query = "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal AND "
            here = "relnamespace = CAST(current_schema() AS regnamespace)"
            found = set(connection.execute(text(query + here)).scalars())
        return sorted(found ^ _POSTGRESQL_TRIGGERS)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Database(f"sqlite:///{folder}/schema.sqlite")
        try:
            upgrade(fresh)
            expected = _sqlite_triggers(fresh)
        finally:
            fresh.close()
    return sorted({name for name, _, _ in expected ^ _sqlite_triggers(database)})


def _sqlite_triggers(database: Database) -> set[tuple[str, str, str]]:
    """Return name, table and SQL text of each trigger."""
    with database.reading() as connection:
        rows = connection.execute(text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"))
        return {(str(name), str(table), str(sql)) for name, table, sql in rows}


def require_current(database: Database) -> None:
    """Raise SchemaOutdated unless the schema is this program's; in an empty database, create it."""
    if current_revision(database) is None:
        upgrade(database)
    else:
        require_this_schema(database)


def require_this_schema(database: Database) -> None:
    """Raise SchemaOutdated unless the schema is this program's, or a later one on which this program may run: nodes are
    upgraded one after the other.
    """
    current, newest = current_revision(database), newest_revision()
    if current != newest and not (current is not None and current > newest and _may_run(database, newest, current)):
        at = current or "no version"
        raise SchemaOutdated(f"the database is at {at}, this program needs {newest}: run `caducee db upgrade`")


def _may_run(database: Database, program: str, current: str) -> bool:
    """Return whether the current, later schema says that a program of this revision may run on it."""
    table = schema_compatibility
    with database.reading() as connection:
        oldest = connection.execute(select(table.c.oldest_program).where(table.c.revision == current)).scalar()
    return oldest is not None and oldest <= program
