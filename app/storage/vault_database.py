"""The database of a key vault on PostgreSQL: which installation it belongs to, its marks, and its configuration.

As with a folder, absence alone proves nothing: a result counts only if the row in `vault.installation` names this
installation.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from app.storage import vault_erasure, vault_hours, vault_instance
from app.storage.errors import VaultKeepsKeys, VaultUnavailable
from app.storage.key_vault import Mark, is_mark
from app.storage.place import Place
from app.storage.vault_connections import STATEMENT_SECONDS, VaultConnections

MARK_MAX_BYTES = 64 * 1024


class VaultDatabase:
    """The database at a URL of PostgreSQL; with `installation_id`, only of that installation's vault."""

    def __init__(self, url: str, *, installation_id: str | None = None) -> None:
        """Store the arguments; nothing is connected before the first use."""
        self._connections = VaultConnections(url)
        self._installation_id = installation_id
        self._erasing = threading.Lock()

    def has_room(self) -> bool:
        """Return True if the vault responds: how much room the instance has left is its operator's to watch."""
        with self._proved("free space"):
            return True

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def recognises(self, file_name: str) -> bool:  # noqa: ARG002 - the port's parameter
        """Return False: no file of a backup is a copy of this vault."""
        return False

    def place(self) -> Place:
        """Return the host and database."""
        return Place(self._connections.name)

    def configuration_problems(self) -> list[str]:
        """Return what about the instance would let a destroyed key live on, each with what is right."""
        with self._connections.session("configuration", seconds=STATEMENT_SECONDS) as connection:
            strays = vault_erasure.strays_of(connection)
            return [*vault_instance.problems(connection), *([vault_erasure.strays_said(strays)] if strays else [])]

    def content(self) -> str | None:
        """Return the name of a table in the database, None if it has none. Raises VaultUnavailable."""
        with self._connections.transaction("look") as connection:
            return min((*vault_hours.relations(connection), *vault_hours.foreign_relations(connection)), default=None)

    def installation(self) -> str | None:
        """Return the installation's id, or None if there is no vault yet. Raises VaultUnavailable."""
        with self._connections.transaction("installation") as connection:
            identity = self._identity(connection)
        if identity is None and self._installation_id is not None:
            raise VaultUnavailable("this is not the key vault: it carries no installation id")
        return identity

    def adopt(self, installation_id: str) -> None:
        """Create the vault's tables, unless they exist. Raises VaultUnavailable if it belongs to another installation,
        VaultKeepsKeys if the instance's configuration would let a destroyed key live on.
        """
        with self._connections.transaction("configuration") as connection:
            problems = list(vault_instance.problems(connection))
        if problems:
            raise VaultKeepsKeys(problems)
        with self._connections.transaction("adopt") as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (vault_hours.SETUP_LOCK,))
            if "installation" not in vault_hours.relations(connection):
                connection.exec_driver_sql(vault_hours.SCHEMA)
            connection.exec_driver_sql(
                "INSERT INTO vault.installation (id) VALUES (%s) ON CONFLICT DO NOTHING", (installation_id,)
            )
            if self._identity(connection) != installation_id:
                raise VaultUnavailable("the key vault belongs to another installation")
        self._installation_id = installation_id

    def write_mark(self, text: str, mark: str = Mark.HIGH_WATER) -> None:
        """Replace a mark. Raises ValueError above 64 KiB of UTF-8 or for an unknown mark, VaultUnavailable."""
        _require_mark(text, mark)
        with self._proved("write the mark") as connection:
            connection.exec_driver_sql(
                "INSERT INTO vault.marks (name, content) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET content = excluded.content",
                (str(mark), text),
            )

    def exchange_mark(self, before: str, after: str, mark: str = Mark.HIGH_WATER) -> bool:
        """Replace a mark if its text is still `before`, whichever host writes at the same time. Return whether it was.
        Raises as `write_mark`.
        """
        _require_mark(after, mark)
        with self._proved("exchange the mark") as connection:
            exchanged = connection.exec_driver_sql(
                "UPDATE vault.marks SET content = %s WHERE name = %s AND content = %s", (after, str(mark), before)
            )
            return exchanged.rowcount == 1

    def read_mark(self, mark: str = Mark.HIGH_WATER) -> str | None:
        """Return the content of a mark, or None if it was never written. Raises VaultUnavailable."""
        with self._proved("read the mark") as connection:
            found = connection.exec_driver_sql("SELECT content FROM vault.marks WHERE name = %s", (str(mark),)).first()
            return None if found is None else str(found[0])

    @contextmanager
    def _proved(self, doing: str, *, seconds: int | None = None) -> Iterator[Connection]:
        """Run a transaction in the right vault. Raises VaultUnavailable."""
        with self._connections.transaction(doing, seconds=seconds) as connection:
            self._prove(self._identity(connection))
            yield connection

    def _identity(self, connection: Connection) -> str | None:
        exists = connection.exec_driver_sql("SELECT to_regclass('vault.installation') IS NOT NULL").scalar_one()
        found = connection.exec_driver_sql("SELECT id FROM vault.installation").first() if exists else None
        return None if found is None else str(found[0])

    def _not_foreign(self, connection: Connection) -> str | None:
        """Return the installation's id. A vault that lost it passes: that never delays an expiry."""
        identity = self._identity(connection)
        if identity is not None:
            self._prove(identity)
        return identity

    def _prove(self, identity: str | None) -> None:
        if identity is None:
            raise VaultUnavailable("this is not the key vault: it carries no installation id")
        if self._installation_id not in (None, identity):
            raise VaultUnavailable("the key vault belongs to another installation")


def _require_mark(text: str, mark: str) -> None:
    if len(text.encode()) > MARK_MAX_BYTES:
        raise ValueError("a mark is at most 64 KiB")
    if not is_mark(mark):
        raise ValueError("no mark has this name")
