"""A watch over a running stream: expiry, withdrawal and silence cut it within a second, whatever the stream waits for.

Uploads and downloads run inside `watched`. A stream that waits for a slow client never comes back to look at the
clock by itself, so a task beside it does. A check may also pause a stream (`Paused`): then nothing more is sent until
a later check passes, and silence is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

from app.domain.errors import ClientTooSlow

CHECK_SECONDS = 1.0


class Paused(Exception):
    """Raised by a check that can neither pass nor refuse now: the stream stands still until another one can."""


class Progress:
    """When the stream last moved (monotonic seconds). Whoever sends waits for `may_go_on`, which a pause clears."""

    def __init__(self) -> None:
        """Count silence from now."""
        self.moved_at = monotonic()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def moved(self) -> None:
        """A piece came in or went out."""
        self.moved_at = monotonic()


@asynccontextmanager
async def watched(check: Callable[[], Awaitable[None]], *, idle_seconds: float) -> AsyncIterator[Progress]:
    """Run the block while `check` passes, asked each second; what it raises is raised from the block.

    Raises ClientTooSlow when `Progress.moved` was not called for `idle_seconds`.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a stream runs in a task")
    progress = Progress()
    failure: list[BaseException] = []

    async def watch() -> None:
        try:
            while True:
                await asyncio.sleep(CHECK_SECONDS)
                if progress.may_go_on.is_set() and monotonic() - progress.moved_at > idle_seconds:
                    raise ClientTooSlow  # noqa: TRY301 - same way out as the check's own refusals
                await _check(check, progress)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever stops the watch stops the stream (fail closed)
            failure.append(error)
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield progress
    except asyncio.CancelledError:
        if failure and task.uncancel() == 0:
            raise failure[0] from None
        raise
    finally:
        watcher.cancel()


async def _check(check: Callable[[], Awaitable[None]], progress: Progress) -> None:
    """Check once; pause the stream, or let a paused one go on with its silence counted from now."""
    try:
        await check()
    except Paused:
        progress.may_go_on.clear()
        return
    if not progress.may_go_on.is_set():
        progress.moved()
        progress.may_go_on.set()
