"""How Alembic runs the versions: on the connection that the program passes, or on CADUCEE_DATABASE_URL by hand."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from app.db.engine import Database
from app.db.tables import metadata
from app.runtime.settings import Settings


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    context.run_migrations()


passed = context.config.attributes.get("connection")
if passed is not None:
    _run(passed)
else:
    with Database(Settings().database_location).writing() as transaction:
        _run(transaction.connection)
