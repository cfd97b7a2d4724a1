"""The queues for Argon2: parties take turns, and only a party's own callers can take its places."""

import asyncio

import pytest

from app.domain.errors import Busy
from app.domain.party import party_of
from app.runtime.hashing_queue import FairQueue, HashingQueue


async def in_turn(queue, party, order):
    async with queue.turn(party):
        order.append(party)
        await asyncio.sleep(0)


def order_of(*parties, waiting=64):
    """In which order these callers, who all come at once, have their turn."""
    order: list[str] = []

    async def story():
        queue = FairQueue(waiting=waiting)
        await asyncio.gather(*(in_turn(queue, party, order) for party in parties))

    asyncio.run(story())
    return "".join(order)


def test_parties_take_turns_however_many_callers_they_have():
    """One that has fifty waiting is followed by whoever comes next."""
    assert order_of(*"aaaaaabbc") == "aabcabaaa"


def test_callers_of_one_party_keep_their_order():
    order = []

    async def call(queue, number):
        async with queue.turn("a"):
            order.append(number)
            await asyncio.sleep(0)

    async def story():
        queue = FairQueue(waiting=9)
        await asyncio.gather(*(call(queue, number) for number in range(8)))

    asyncio.run(story())
    assert order == list(range(8))


def test_a_party_without_places_is_busy_and_nobody_else_is():
    async def story():
        queue = FairQueue(waiting=1)
        with queue.place("a"), queue.place("a"):
            with pytest.raises(Busy):
                async with queue.turn("a"):
                    raise AssertionError("a third place")
            async with queue.turn("b"):
                pass
        async with queue.turn("a"):
            pass

    asyncio.run(story())


def test_a_reserved_place_is_never_busy():
    """Of `send`, whose body has been received by then."""

    async def story():
        queue, order = FairQueue(waiting=2), list[str]()
        with queue.place("a") as place:
            crowd = [asyncio.create_task(in_turn(queue, "a", order)) for _ in range(5)]
            await asyncio.sleep(0)
            async with place.turn():
                pass
            return [type(answer) for answer in await asyncio.gather(*crowd, return_exceptions=True)]

    assert asyncio.run(story()) == [type(None), type(None), Busy, Busy, Busy]


@pytest.mark.parametrize("called", [False, True], ids=["while it waits", "when it was just called"])
def test_a_caller_that_goes_away_holds_up_nobody(called):
    async def story():
        queue, order = FairQueue(waiting=9), list[str]()
        async with queue.turn("a"):
            gone, next_one = (asyncio.create_task(in_turn(queue, party, order)) for party in "bc")
            await asyncio.sleep(0)
            if not called:
                gone.cancel()
                await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(next_one, 1)
        return order

    assert asyncio.run(story()) == ["c"]


def test_all_claims_of_a_share_have_one_place():
    """So that other recipients at the same address find one."""

    async def claim(queue, share):
        async with queue.paced(share, at_once=1), queue.turn("address"):
            await asyncio.sleep(0.001)

    async def story():
        queue = HashingQueue(waiting=2)
        crowd = [asyncio.create_task(claim(queue, "one")) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.gather(claim(queue, "two"), claim(queue, "three"))
        return [type(answer) for answer in await asyncio.gather(*crowd, return_exceptions=True)]

    assert asyncio.run(story()) == [type(None)] * 5


@pytest.mark.parametrize(
    ("address", "party"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_customer_are_one_party(address, party):
    assert party_of(address) == party
