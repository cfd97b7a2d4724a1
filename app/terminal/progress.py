"""Progress bars for long work, on stderr, and only on a terminal: name, bytes, rate, time left."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from app.client.watcher import Watcher
from app.terminal.console import say
from app.terminal.plain_text import visible


class Bars:
    """One bar for each file. A context manager."""

    def __init__(self) -> None:
        """Nothing is drawn before `watcher` is told of files, so that questions can be asked before."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True, highlight=False)
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal)
        self.watcher = Watcher(self._began, self._moved, self._waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the bars as they are."""
        self.over()

    def over(self) -> None:
        """Stop drawing."""
        self._bars.stop()

    def _began(self, files: Iterable[tuple[str, int]]) -> None:
        self._bars.start()
        for name, size in files:
            self._bars.add_task(visible(name), total=size)

    def _moved(self, number: int, arrived: int) -> None:
        self._bars.update(self._bars.task_ids[number], completed=arrived)

    def _waiting(self, seconds: float) -> None:
        say(f"the service cannot be reached, or is busy; trying again in {math.ceil(seconds)} s")
