"""Bounded queues in front of what is dear: Argon2, each run of which takes 64 MiB, so that guessing must not be able to
run many at once; and reports over the whole log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.crypto.stretching import Argon2Parameters, stretch
from app.domain.errors import Busy


class BoundedQueue:
    """One at a time in this process; so many may wait; the next is refused with Busy."""

    def __init__(self, *, waiting: int) -> None:
        """Let `waiting` callers wait for their turn."""
        self._turn = asyncio.Lock()
        self._places = waiting + 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        if self._places == 0:
            raise Busy
        self._places -= 1
        try:
            async with self._turn:
                yield
        finally:
            self._places += 1


class HashingQueue(BoundedQueue):
    """One Argon2 at a time; whoever is refused has spent no attempt."""

    async def stretch(self, password: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
        """Stretch a password while holding the turn. 32 bytes."""
        return await asyncio.to_thread(stretch, password, salt, parameters)
