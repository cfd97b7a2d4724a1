"""The reserve: a file beside SQLite's database that is removed when the volume is full, so that deletion can write.

Ending and deleting a transfer writes rows and log entries, which would fail on a full volume. So a file of
RESERVE_BYTES holds that space: the first write that finds the volume nearly full removes the file, which needs no
space, and deletion goes on. Intake is refused before that point (`app/lifecycle/gate.py`), and the scheduler makes the
file again once there is room.

On PostgreSQL the operator provides the space (docs/operations.md).
"""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from pathlib import Path

import structlog

RESERVE_BYTES = 16 * 1024 * 1024
KEPT_BYTES = 4 * 1024 * 1024
"""Intake leaves this much free beside the reserve: as much as SQLite's WAL grows to between two checkpoints."""
LOW_BYTES = 2 * 1024 * 1024
"""A write that finds less free space than this gives the reserve up before it begins."""
_PIECE = 1024 * 1024

log = structlog.get_logger()


class Reserve:
    """The reserve of one database; None: a database that needs none."""

    def __init__(self, database: Path | None) -> None:
        """Store the path; nothing is opened."""
        self._file = database.with_name(f"{database.name}-reserve") if database else None

    def in_place(self) -> bool:
        """Return whether the file is there and whole, or none is needed."""
        return self._file is None or self._held() == RESERVE_BYTES

    def free_bytes(self) -> int | None:
        """Return the free space of the database's volume, without the reserve; None if none is needed, 0 if that cannot
        be determined.
        """
        if self._file is None:
            return None
        try:
            volume = os.statvfs(self._file.parent)
        except OSError:
            return 0
        return volume.f_bavail * volume.f_frsize

    def has_room(self) -> bool:
        """Return whether the volume has room for intake: the reserve, held or free, and KEPT_BYTES."""
        free = self.free_bytes()
        return free is None or free + self._held() >= RESERVE_BYTES + KEPT_BYTES

    def give_up_if_low(self) -> None:
        """Give the reserve up if less than LOW_BYTES are free."""
        free = self.free_bytes()
        if free is not None and free < LOW_BYTES:
            self.give_up()

    def give_up(self) -> None:
        """Remove the file, if there is one, so that its space can be written to."""
        if self._file is None:
            return
        try:
            self._file.unlink()
        except OSError:  # there is none, or nothing can be written here at all
            return
        log.error("reserve_given_up", free_bytes=self.free_bytes(), alert=True)

    def make(self) -> bool:
        """Make the file unless it is in place; return whether it is. Alerts if it cannot be made."""
        if self._file is None or self.in_place():
            return True
        problem = self._try_to_make(self._file)
        if problem is not None:
            log.error("reserve_missing", detail=problem, free_bytes=self.free_bytes(), alert=True)
        return self.in_place()

    def _try_to_make(self, file: Path) -> str | None:
        """Return why it cannot be made, or None."""
        if not self.has_room():
            return "the database's volume is full"
        try:
            file.unlink(missing_ok=True)  # a crash may have cut it short
            _write(file)
        except OSError as error:
            with suppress(OSError):
                file.unlink()
            return error.strerror
        return None

    def _held(self) -> int:
        try:
            return self._file.lstat().st_size if self._file else 0
        except OSError:
            return 0


def _write(file: Path) -> None:
    """Write the file durably. Random, so that no file system compresses it; text, so that `audit drill` passes it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        for _ in range(RESERVE_BYTES // _PIECE):
            piece = memoryview(base64.b64encode(os.urandom(_PIECE // 4 * 3)))
            while piece:
                piece = piece[os.write(descriptor, piece) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
