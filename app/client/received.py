"""What was received here: remembered until the link's expiry, so that a repetition of `get` can say so.

A link works once. Without this record, a second start after a success would only learn that the link was used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from app.client.moments import has_passed
from app.client.state import ClientState


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file as it was when it got its place: size in bytes, time of change in nanoseconds."""

    path: str
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> ReceivedFile:
        """Describe a file. Raises OSError."""
        found = path.stat()
        return cls(str(path), found.st_size, found.st_mtime_ns)

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is still there, as it was."""
        try:
            return ReceivedFile.of(Path(self.path)) == self
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Received:
    """A share whose files have all arrived. `is_confirmed`: the service knows it, too. Times are RFC 3339."""

    share_id: str
    received_at: str
    folder: str
    expires_at: str
    files: list[ReceivedFile]
    is_confirmed: bool = False

    @classmethod
    def now(cls, share_id: str, folder: Path, expires_at: str, paths: Sequence[Path]) -> Received:
        """Describe what has just arrived. Raises OSError."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(share_id, at, str(folder), expires_at, [ReceivedFile.of(path) for path in paths])

    @classmethod
    def find(cls, state: ClientState, share_id: str) -> Received | None:
        """Return what was received of a share, also before the service confirmed it. Forget what has expired."""
        found = None
        for path in state.received():
            received = _load(path)
            if received is None or has_passed(received.expires_at):
                path.unlink(missing_ok=True)
            elif received.share_id == share_id:
                found = received
        return found

    @property
    def lost(self) -> list[str]:
        """The paths of files that were changed or removed since."""
        return [file.path for file in self.files if not file.is_unchanged]

    def save(self, state: ClientState) -> None:
        """Store it, durably."""
        state.keep_received(self.share_id, asdict(self))

    def confirmed(self, state: ClientState) -> None:
        """Store that the service confirmed it."""
        replace(self, is_confirmed=True).save(state)


def _load(path: Path) -> Received | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(path.read_text("utf-8"))
        return Received(**{**kept, "files": [ReceivedFile(**each) for each in kept["files"]]})
    return None
