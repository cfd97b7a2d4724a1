"""Fair scheduling between parties: a client on many connections cannot take the event loop, the threads, the database
or the CPU of this process from the others (docs/adr/0025-fair-queues.md).

A party (a token, or a recipient's address) is greedy while it has more than `enough` requests running in this process
and another party was active within RECENT_SECONDS. A greedy party runs one step at a time (work in a thread, a piece of
a file, the start of a request), and pauses after it for PAUSE times the step's duration. Other parties never wait, nor
does a party that is alone. Nothing is refused here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic

from app.runtime.last_seen import LEVELS, LastSeen, open_memory

ENOUGH = 4
"""Requests that one depositor, or one recipient for one share, may have under way without being greedy."""

ENOUGH_OF_AN_ADDRESS = 16
"""The same for all recipients at one address: a whole agency may share it, and a browser opens 6 connections."""

RECENT_SECONDS = 2.0
PAUSE = 5.0

REQUEST_SECONDS = 0.003
"""Cost of a request outside its steps: parsing, routing, sending. An estimate, charged when the request starts."""

STEP_SECONDS = 0.002
"""Expected duration of a step; corrected by its real duration afterwards."""


@dataclass(slots=True)
class _Party:
    """One party at one level, and when its next step of each kind may begin (monotonic seconds)."""

    name: str
    enough: int
    others: _Level
    under_way: int = 0
    free_at: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def is_greedy(self, now: float) -> bool:
        return self.under_way > self.enough and self.others.seen.beside(self.name) > now - RECENT_SECONDS


@dataclass(slots=True)
class _Level:
    """The parties of a kind, which are compared with each other."""

    seen: LastSeen
    parties: dict[str, _Party] = field(default_factory=dict)


class Visit:
    """One request, from its start to the end of its response."""

    def __init__(self) -> None:
        """Start without a party."""
        self._parties: list[_Party] = []

    def join(self, level: _Level, name: str, enough: int) -> None:
        """Count this request for a party until `leave`."""
        party = level.parties.setdefault(name, _Party(name, enough, level))
        party.under_way += 1
        self._parties.append(party)

    def leave(self) -> None:
        """Stop counting this request."""
        for party in self._parties:
            party.under_way -= 1
            if party.under_way == 0:
                party.others.parties.pop(party.name, None)

    def greedy_parties(self) -> list[_Party]:
        """Record that the parties are active, and return those that are greedy."""
        now, greedy = monotonic(), []
        for party in self._parties:
            party.others.seen.see(party.name, now)
            if party.is_greedy(now):
                greedy.append(party)
        return greedy


_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)


class Fairness:
    """The parties of one process. Whether other parties are active is shared between all workers of the service."""

    def __init__(self) -> None:
        """Start without parties."""
        memory = open_memory()
        self._closest, self._addresses = (_Level(LastSeen(memory, level)) for level in range(LEVELS))

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Run one request inside this context."""
        visit = Visit()
        reset = _visit.set(visit)
        try:
            yield
        finally:
            _visit.reset(reset)
            visit.leave()

    async def enter_depositor(self, actor: str) -> None:
        """Count the current request for a depositor, and wait if that one is greedy."""
        self._join(self._closest, actor, ENOUGH)
        await spend(REQUEST_SECONDS)

    async def enter_recipient(self, address: str, share_or_claim: str) -> None:
        """Count the current request for a recipient: by address, and there by what the path names, since many may share
        one address. Wait if either is greedy.
        """
        self._join(self._closest, f"{address} {share_or_claim}", ENOUGH)
        self._join(self._addresses, address, ENOUGH_OF_AN_ADDRESS)
        await spend(REQUEST_SECONDS)

    def _join(self, level: _Level, name: str, enough: int) -> None:
        visit = _visit.get()
        if visit is not None:
            visit.join(level, name, enough)


@contextmanager
def no_pauses() -> Iterator[None]:
    """Run code without pauses, because other parties wait for its result."""
    reset = _visit.set(None)
    try:
        yield
    finally:
        _visit.reset(reset)


async def spend(seconds: float, kind: str = "steps") -> list[_Party]:
    """Wait until each greedy party of the current request may take a step of `seconds`. Return the greedy parties."""
    visit = _visit.get()
    if visit is None:
        return []
    greedy = visit.greedy_parties()
    for party in greedy:
        now = monotonic()
        begins = max(now, party.free_at[kind])
        party.free_at[kind] = begins + seconds * (1 + PAUSE)
        await asyncio.sleep(begins - now)
    return greedy


@asynccontextmanager
async def step(*, weight: int = 1) -> AsyncIterator[None]:
    """Run a step of the current request. A greedy party waits before it and pauses after it. `weight` multiplies the
    step's duration, to account for work done for it elsewhere.
    """
    greedy = await spend(STEP_SECONDS)
    started = monotonic()
    try:
        yield
    finally:
        for party in greedy:
            party.free_at["steps"] += (weight * (monotonic() - started) - STEP_SECONDS) * (1 + PAUSE)
