"""The vault's memory of the database: kept at every sweep, compared at every start.

The vault is in no backup, so a restored database is one that knows less than the vault remembers of it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from app.db import audit_rows, service_rows
from app.domain.high_water import HighWater
from app.resources import Resources
from app.storage.vault_marks import read_high_water


class DatabaseRolledBack(Exception):
    """The log in the database is shorter than, or differs from, what the vault remembers: `database_rolled_back`."""


class LogDamaged(DatabaseRolledBack):
    """Entries of the log are missing, with the tree's nodes above them: what the vault remembers cannot be found."""


def require_not_rolled_back(resources: Resources) -> None:
    """Raise DatabaseRolledBack if the vault remembers more of the log than the database has, or something else."""
    remembered = read_high_water(resources.vault)
    if remembered is None:
        return
    with resources.database.reading() as connection:
        size = audit_rows.size(connection)
        if size < remembered.log_size:
            raise DatabaseRolledBack(
                f"database_rolled_back: the log has {size} entries, the vault remembers {remembered.log_size}; "
                "if a backup was restored on purpose: caducee db accept-restore"
            )
        if _root(connection, remembered.log_size) != remembered.log_root:
            raise DatabaseRolledBack(
                f"database_rolled_back: the log's first {remembered.log_size} entries are not those the vault "
                "remembers; if a backup was restored on purpose: caducee db accept-restore"
            )


def keep(resources: Resources, now: datetime) -> None:
    """Let the vault remember how far the log has come. Raises DatabaseRolledBack, VaultUnavailable."""
    require_not_rolled_back(resources)
    remembered = read_high_water(resources.vault)
    write(resources, now, origin=remembered.log_origin if remembered else None)


def write(resources: Resources, now: datetime, *, origin: str | None = None) -> None:
    """Write the mark whatever it was before: for a restored database that was accepted. `origin`: the one that the
    vault remembers goes on, whatever the database says; None takes the database's.
    """
    with resources.database.reading() as connection:
        size = audit_rows.size(connection)
        root = _root(connection, size)
        origin = origin or service_rows.get(connection).log_origin
    resources.vault.write_mark(HighWater(now, resources.clock.judge().anchor, size, root, origin).to_text())


def _root(connection: Connection, size: int) -> bytes:
    try:
        return audit_rows.root(connection, size)
    except KeyError:
        raise LogDamaged(
            f"log_damaged: of the log's first {size} entries some are missing, and their place in the tree too; "
            "caducee audit verify names them; bring back the database, or the last backup before that"
        ) from None
