"""The schema's version: building it, and refusing to run on another one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import migrations
from app.db.engine import Database
from app.db.errors import SchemaOutdated


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


@cache
def newest_revision() -> str | None:
    """The revision that this program was written for."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def current_revision(database: Database) -> str | None:
    """The revision of the database; None when it is empty."""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> None:
    """Bring the schema up to this program's version, in one transaction."""
    with database.writing() as transaction:
        if not database.is_sqlite:
            transaction.connection.execute(text("SET LOCAL statement_timeout = 0"))  # a large table takes what it takes
        config = _config()
        config.attributes["connection"] = transaction.connection
        command.upgrade(config, "head")


def require_current(database: Database) -> None:
    """Raise SchemaOutdated unless the schema is this program's; an empty database is built first."""
    if current_revision(database) is None:
        upgrade(database)
    else:
        require_this_schema(database)


def require_this_schema(database: Database) -> None:
    """Raise SchemaOutdated unless the schema is this program's."""
    current, newest = current_revision(database), newest_revision()
    if current != newest:
        at = current or "no version"
        raise SchemaOutdated(f"the database is at {at}, this program needs {newest}: run `caducee db upgrade`")
