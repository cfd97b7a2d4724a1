"""Read-only access to the database: to a copy of the data folder, or to a running service's, as another user.

SQLite writes even when it reads: opening a file in WAL mode creates or changes `-shm` and `-wal`, even with `mode=ro`,
if permissions allow. A file that another process has open has both already, and is opened that way. A file not in use
is read without locks, including its WAL (committed, but not yet in the file).
"""

from __future__ import annotations

import fcntl
import sqlite3
import struct
from pathlib import Path

from sqlalchemy import create_engine, make_url

from app.db.engine import Database
from app.db.errors import DatabaseUnavailable
from app.db.sqlite_connections import BUSY_TIMEOUT_SECONDS, KeptConnections, TrackedConnection, begin_reading

_DMS_BYTE = 128
"""Every process with an open WAL-mode database holds a lock on this byte of `-shm` (SQLite, os_unix.c, UNIX_SHM_DMS).
"""

_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


class ReadOnlyDatabase(Database):
    """A database opened read-only: writing raises DatabaseUnavailable, and no file is created or changed."""

    def __init__(self, url: str) -> None:
        """Choose how to open it. Raises DatabaseUnavailable if the file does not exist."""
        parsed = make_url(url)
        self._still: dict[Path, tuple[int, int]] | None = None
        if parsed.get_backend_name() != "sqlite":
            super().__init__(url)
            self._writer = self._reader
            return
        self.is_sqlite, self._turn = True, None
        self.before_commit = self.operator = None
        self.file = Path(parsed.database or "").resolve()
        if not self.file.is_file():
            raise DatabaseUnavailable(f"there is no database {self.file}")
        in_use = _is_open_elsewhere(self._beside("-shm"))
        if not in_use:
            self._still = self._as_it_is()
        uri = f"{self.file.as_uri()}?mode=ro{self._way(in_use=in_use)}"
        self.engine = create_engine("sqlite://", hide_parameters=True, pool_size=1, creator=lambda: _connect(uri))
        self._reader = self._writer = KeptConnections(self.engine, begin_reading)

    def require_unchanged(self) -> None:
        """Raise DatabaseUnavailable if a file that was read without locks was written meanwhile: reads may be torn."""
        if self._still is not None and (_is_open_elsewhere(self._beside("-shm")) or self._still != self._as_it_is()):
            raise DatabaseUnavailable("the database was opened by another process while it was read: ask again")

    def _beside(self, suffix: str) -> Path:
        file = self.file or Path()
        return file.with_name(file.name + suffix)

    def _as_it_is(self) -> dict[Path, tuple[int, int]]:
        found = [path for path in (self._beside(""), self._beside("-wal")) if path.exists()]
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    def _way(self, *, in_use: bool) -> str:
        if in_use:
            return ""
        wal = self._beside("-wal")
        # `immutable` would ignore a WAL; without locks, the WAL index is kept in memory.
        return "&vfs=unix-none" if wal.exists() and wal.stat().st_size else "&immutable=1"


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=TrackedConnection,
    )
    if "vfs=unix-none" in uri:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def _is_open_elsewhere(shared_memory: Path) -> bool:
    """Return whether another process has the database open. Do not call this in a process that has it open: closing the
    file releases all locks that the process holds on it (POSIX).
    """
    try:
        with shared_memory.open("rb") as file:
            asked = _LOCK.pack(fcntl.F_WRLCK, 0, _DMS_BYTE, 1, 0)
            kind, *_ = _LOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except FileNotFoundError:
        return False
    return bool(kind != fcntl.F_UNLCK)
