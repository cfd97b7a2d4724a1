"""Bounded queues for expensive work: Argon2, which takes 64 MiB per run, so that password guessing must not start many
at once; and reports over the whole log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.crypto.stretching import Argon2Parameters, stretch
from app.domain.errors import Busy


class BoundedQueue:
    """Runs one caller at a time in this process. At most `waiting` more may wait; the next one gets Busy."""

    def __init__(self, *, waiting: int) -> None:
        """`waiting`: the maximum number of waiting callers."""
        self._turn = asyncio.Lock()
        self._places = waiting + 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises Busy if the queue is full."""
        if self._places == 0:
            raise Busy
        self._places -= 1
        try:
            async with self._turn:
                yield
        finally:
            self._places += 1


class HashingQueue(BoundedQueue):
    """A queue for Argon2. A caller refused with Busy has spent no password attempt."""

    async def stretch(self, password: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
        """Return the stretched password (32 bytes). The caller must hold the turn."""
        return await asyncio.to_thread(stretch, password, salt, parameters)
