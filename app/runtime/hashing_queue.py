"""Bounded, fair queues for expensive work: Argon2, which takes 64 MiB per run, so that password guessing must not start
many at once; and reports over the whole log.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from time import monotonic

from app.crypto.stretching import Argon2Parameters, stretch
from app.domain.errors import Busy
from app.runtime import fairness


class FairQueue:
    """Runs one caller at a time in this process. Parties take turns, however many callers each of them has. Each party
    has `waiting` places in addition to the running one; only its own callers beyond these get Busy.
    """

    def __init__(self, *, waiting: int) -> None:
        """`waiting`: the maximum number of waiting callers of one party."""
        self._places = waiting + 1
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._runs = False

    @contextmanager
    def place(self, party: str) -> Iterator[Place]:
        """Hold a place, for a turn that is taken later. Raises Busy if the party has none left."""
        if self._held[party] >= self._places:
            raise Busy
        self._held[party] += 1
        try:
            yield Place(self, party)
        finally:
            self._held[party] -= 1
            if not self._held[party]:
                del self._held[party]

    @asynccontextmanager
    async def turn(self, party: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises Busy if the party has no place left."""
        with self.place(party) as place:
            async with place.turn():
                yield

    @asynccontextmanager
    async def _turn(self, party: str) -> AsyncIterator[None]:
        if self._runs:
            await self._called(party)
        self._runs = True
        try:
            with fairness.no_pauses():  # all others wait while this caller holds the turn
                yield
        finally:
            self._call_next()

    async def _called(self, party: str) -> None:
        call = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(call)
        try:
            await call
        except asyncio.CancelledError:
            if call.done() and not call.cancelled():  # its turn had come, but the caller was cancelled
                self._call_next()
            raise

    def _call_next(self) -> None:
        """Call the party that has waited longest since its last turn."""
        self._runs = False
        while self._waiting and not self._runs:
            party, calls = self._waiting.popitem(last=False)
            call = calls.popleft()
            if calls:
                self._waiting[party] = calls
            if not call.done():
                call.set_result(None)
                self._runs = True


class Place:
    """A place in a queue, held by a party."""

    def __init__(self, queue: FairQueue, party: str) -> None:
        """Created by `FairQueue.place`."""
        self._queue, self._party = queue, party

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for a turn and hold it. The place is reserved, so this never raises Busy."""
        return self._queue._turn(self._party)  # noqa: SLF001 - a place belongs to its queue


class HashingQueue(FairQueue):
    """A queue for Argon2. A caller refused with Busy has spent no password attempt."""

    def __init__(self, *, waiting: int) -> None:
        super().__init__(waiting=waiting)
        self._usual_seconds = 0.1
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._asked: Counter[str] = Counter()

    @asynccontextmanager
    async def paced(self, key: str, *, at_once: int) -> AsyncIterator[None]:
        """Let at most `at_once` callers with this key proceed to the queue. The others wait here, where they occupy no
        place. A greedy party also pauses here, because in the queue all others would wait for it.
        """
        self._asked[key] += 1
        try:
            async with self._gates.setdefault(key, asyncio.Semaphore(at_once)):
                await fairness.spend(self._usual_seconds, "hashing")
                yield
        finally:
            self._asked[key] -= 1
            if not self._asked[key]:
                del self._asked[key], self._gates[key]

    async def stretch(self, password: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
        """Return the stretched password (32 bytes). The caller must hold the turn."""
        started = monotonic()
        try:
            return await asyncio.to_thread(stretch, password, salt, parameters)
        finally:
            self._usual_seconds = monotonic() - started
