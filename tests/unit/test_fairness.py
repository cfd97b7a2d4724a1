"""Lesson 44: a greedy party's steps take place one at a time, with pauses, while others are here; nobody else waits."""

import asyncio
from types import SimpleNamespace

import pytest

from app.runtime import fairness, last_seen
from app.runtime.fairness import ENOUGH, ENOUGH_OF_AN_ADDRESS, PAUSE, Fairness


@pytest.fixture
def waits(monkeypatch):
    """How long each step would have waited, in seconds: nobody waits in these tests."""
    waited: list[float] = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(fairness, "asyncio", SimpleNamespace(sleep=sleep))
    return waited


def enter(here, party):
    """A depositor, or a recipient named by address and share."""
    return here.enter_recipient(*party.split()) if " " in party else here.enter_depositor(party)


def steps_of(*parties, steps=1):
    """Requests of these parties that are under way at once. Each then takes a step of a second, in turn."""

    async def request(here, party, entered, go_on, all_done):
        with here.visited():
            await enter(here, party)
            entered.release()
            await go_on.wait()
            for _ in range(steps):
                await fairness.spend(1.0)
            await all_done.wait()

    async def story():
        here, entered, go_on = Fairness(), asyncio.Semaphore(0), asyncio.Event()
        all_done = asyncio.Barrier(len(parties))
        requests = [asyncio.create_task(request(here, party, entered, go_on, all_done)) for party in parties]
        for _ in parties:
            await entered.acquire()
        go_on.set()
        await asyncio.gather(*requests)
        return here

    return asyncio.run(story())


def long_ones(waits):
    return sorted(wait for wait in waits if wait > 0.5)


def test_a_party_that_is_alone_never_waits(waits):
    steps_of(*["a"] * 20)
    assert waits == []


def test_a_greedy_party_takes_one_step_at_a_time_and_pauses(waits):
    """Eight requests, eight steps of a second, each followed by its pause; the other party's request does not wait."""
    steps_of("b", *["a"] * (ENOUGH + 4))
    assert long_ones(waits) == pytest.approx([step * (1 + PAUSE) for step in range(1, ENOUGH + 4)], abs=0.3)


def test_a_party_that_asks_little_never_waits(waits):
    steps_of(*["a"] * ENOUGH, *["b"] * ENOUGH, steps=3)
    assert waits == []


def test_a_recipient_is_told_from_others_at_the_same_address(waits):
    """As all are behind a proxy that is not listed."""
    steps_of("address two", "address three", *["address one"] * (ENOUGH + 2))
    assert len(long_ones(waits)) == ENOUGH + 1  # the first step of a greedy party does not wait


def test_many_shares_at_one_address_wait_for_another_address(waits):
    """An attacker may name as many shares as it likes."""
    many = [f"one {number}" for number in range(ENOUGH_OF_AN_ADDRESS + 2)]
    steps_of(*many)
    assert waits == []
    steps_of("two x", *many)
    assert len(long_ones(waits)) == ENOUGH_OF_AN_ADDRESS + 1


def test_a_step_is_settled_by_what_it_took(waits, monkeypatch):
    """What comes after a long one waits longer."""
    now = [100.0]
    monkeypatch.setattr(fairness, "monotonic", lambda: now[0])

    async def story():
        here = Fairness()
        with here.visited():
            await here.enter_depositor("b")
        others = [asyncio.create_task(stay(here, "a")) for _ in range(ENOUGH)]
        with here.visited():
            await here.enter_depositor("a")
            await asyncio.sleep(0)
            async with fairness.step():
                now[0] += 1.0
            waits.clear()
            async with fairness.step():
                pass
        for other in others:
            other.cancel()

    async def stay(here, party):
        with here.visited():
            await here.enter_depositor(party)
            await asyncio.Event().wait()

    asyncio.run(story())
    assert waits[-1] > PAUSE - 0.1


def test_whoever_holds_a_turn_never_waits(waits):
    """All others wait for it."""

    async def story():
        with fairness.no_pauses():
            assert await fairness.spend(60.0) == []

    asyncio.run(story())
    assert waits == []


def test_a_party_that_left_leaves_nothing_behind(waits):
    here = steps_of("a", "b c")
    assert here._closest.parties == here._addresses.parties == {}


def test_workers_share_what_they_saw(monkeypatch):
    """A party that is alone in its own worker may be in the way of others."""
    monkeypatch.delenv(last_seen.VARIABLE, raising=False)
    with last_seen.shared_by_workers():
        one, two = (last_seen.LastSeen(last_seen.open_memory(), 0) for _ in range(2))
        one.see("a", 1.0)
        assert two.beside("b") == 1.0
        assert two.beside("a") == float("-inf")
        two.see("b", 2.0)
        assert one.beside("a") == 2.0
        assert one.beside("b") == 1.0


@pytest.mark.parametrize("path", [None, "/nowhere/at/all"])
def test_a_process_of_its_own_remembers_for_itself(monkeypatch, path):
    if path is None:
        monkeypatch.delenv(last_seen.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(last_seen.VARIABLE, path)
    seen = last_seen.LastSeen(last_seen.open_memory(), 1)
    seen.see("a", 1.0)
    assert seen.beside("b") == 1.0
