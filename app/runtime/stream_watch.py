"""Watches a running stream: expiry, withdrawal or silence aborts it within a second, even while it waits for a client.

Uploads and downloads run inside `watched`. A stream that waits for a slow client cannot check anything itself, so a
second task does. A check may also pause a stream (`Paused`): nothing more is sent until a later check passes, and the
idle timeout does not apply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from time import monotonic

from app.domain.errors import ClientTooSlow

CHECK_SECONDS = 1.0


class Paused(Exception):
    """Raised by a check that can neither pass nor refuse: the stream pauses until a later check does."""


class Progress:
    """The time at which the stream last moved (monotonic seconds). Senders wait for `may_go_on`; a pause clears it."""

    def __init__(self) -> None:
        """Start the idle timeout."""
        self.moved_at = monotonic()
        self.position = 0
        self.storing = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def moved(self) -> None:
        """Restart the idle timeout: data was received or sent."""
        self.moved_at = monotonic()

    @contextmanager
    def stored(self) -> Iterator[None]:
        """Run the block without the idle timeout: the service waits for its store, and the client is not slow."""
        self.storing = True
        try:
            yield
        finally:
            self.storing = False
            self.moved()


@asynccontextmanager
async def watched(
    check: Callable[[], Awaitable[None]], *, idle_seconds: float, position: Callable[[], int] = lambda: 0
) -> AsyncIterator[Progress]:
    """Run the block while `check`, called each second, passes; its exception is raised from the block.

    Raises ClientTooSlow if `Progress.moved` was not called and `position`, read each second, did not change for
    `idle_seconds`.
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
                before, progress.position = progress.position, position()
                if progress.position != before:
                    progress.moved()
                waits_for_client = progress.may_go_on.is_set() and not progress.storing
                if waits_for_client and monotonic() - progress.moved_at > idle_seconds:
                    raise ClientTooSlow  # noqa: TRY301 - handled like the check's own exceptions
                await _check(check, progress)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - any failure of the watch stops the stream (fail closed)
            failure.append(error)
            task.cancel()

    watcher = asyncio.create_task(watch(), context=Context())  # of no party: it never waits
    try:
        yield progress
    except asyncio.CancelledError:
        if failure and task.uncancel() == 0:
            raise failure[0] from None
        raise
    finally:
        watcher.cancel()


async def _check(check: Callable[[], Awaitable[None]], progress: Progress) -> None:
    """Run one check; pause the stream, or resume a paused one and restart its idle timeout."""
    try:
        await check()
    except Paused:
        progress.may_go_on.clear()
        return
    if not progress.may_go_on.is_set():
        progress.moved()
        progress.may_go_on.set()
