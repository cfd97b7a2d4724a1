"""The report of one run of a watch: a JSON file in `reports`, complete after every file, so that a power cut loses
nothing of it. It holds names of files; nothing else that a watch says does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.client.durable import write_durably
from app.client.errors import HookFailed, NotSendable, ServiceRefused, ServiceUnavailable
from app.client.watched_folder import ReadyFile, as_json
from app.crypto.token import new_id

DONE, REFUSED, TRY_AGAIN = 0, 1, 75
"""Exit codes of a run: 1 means that a person has to act, 75 (EX_TEMPFAIL) that the next run may succeed."""

_PASSING = frozenset({404, 409, 410})
"""Statuses of a transfer that has ended, or is another owner's: the next turn may find another state."""


def now() -> str:
    """Return the time: RFC 3339, UTC."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a run stopped before everything was sent. A final one needs a person."""

    code: str
    detail: str
    is_final: bool = False

    @classmethod
    def of(cls, error: ServiceRefused | HookFailed | OSError) -> Problem:
        """Return the problem without the name of any file. A refusal is final, except one that concerns a transfer that
        has ended, or that did not come from the service.
        """
        if isinstance(error, OSError):
            return cls("no_access", f"a file or folder cannot be read or written: {error.strerror or 'unknown'}")
        if isinstance(error, HookFailed):
            return cls("hook_failed", str(error))
        passing = isinstance(error, ServiceUnavailable) or error.code is None or error.status in _PASSING
        return cls(error.code or "unavailable", str(error), is_final=not passing)


@dataclass(slots=True)
class Report:
    """What one run did. `sent` and `failed` are as they are written; `waiting` is how many files were left in `out`."""

    folder: Path
    to: str
    started_at: str = field(default_factory=now)
    ended_at: str | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    waiting: int = 0
    problem: Problem | None = None
    token_expires_at: str | None = None
    path: Path | None = None

    def failed_because(self, file: ReadyFile, reason: NotSendable) -> None:
        """Note a file that was moved to `failed`."""
        self.failed.append({"name": file.name, "code": reason.code, "detail": str(reason)})
        self.write()

    def write(self) -> None:
        """Write the report, or replace it. Raises OSError."""
        if self.path is None:
            self.path = self.folder / f"{self.started_at.replace(':', '-')}-{new_id()[:6]}.json"
        write_durably(self.path, as_json(self.document))

    @property
    def document(self) -> dict[str, Any]:
        """The report as a JSON object."""
        hidden = {"folder", "path"}
        shown = {name: value for name, value in asdict(self).items() if name not in hidden}
        if self.problem is not None:
            shown["problem"] = {"code": self.problem.code, "detail": self.problem.detail}
        return shown

    @property
    def exit_code(self) -> int:
        """The exit code of the run."""
        if self.failed or (self.problem is not None and self.problem.is_final):
            return REFUSED
        return TRY_AGAIN if self.problem is not None else DONE
