"""A file that a command writes for its caller: it belongs to the caller, also where root hands over to the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.terminal.console import say


@contextmanager
def caller_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Open a file before the installation, and yield what replaces its text; without a path, that does nothing."""
    if path is None:
        yield lambda _text: None
        return
    existed = path.exists()
    written = False
    with path.open("a", encoding="utf-8") as file:

        def write(text: str) -> None:
            nonlocal written
            file.truncate(0)
            file.write(text)
            file.flush()
            written = True
            say(f"written to {path}")

        try:
            yield write
        finally:
            if not (written or existed):
                with suppress(OSError):  # root has handed over meanwhile: an empty file stays
                    path.unlink()
