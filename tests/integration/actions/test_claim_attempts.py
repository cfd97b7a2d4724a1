"""Claiming with a password: wrong ones are counted, and attempts under way are reserved."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from app.actions.look_at_share import look_at_share
from app.crypto import wrapping
from app.crypto.password import new_password
from app.db.tables import shares
from app.domain.errors import (
    Busy,
    MalformedPassword,
    ShareLocked,
    WrongPassword,
)
from app.domain.reconciled import Contradiction
from app.domain.share import STALE_ATTEMPT, ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.witnesses import compare_everything
from app.runtime.hashing_queue import HashingQueue
from tests.integration.actions.claim_stories import (
    assert_nothing_redeemed,
    own_key,
    refusal_of,
)
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    WRONG_PASSWORD,
    change,
    claim,
    events_of,
    fetch,
    keys_held,
    log_of,
    run,
    send,
    share_row,
    transfer_row,
)

# The password


def test_wrong_passwords_count_and_the_fifth_locks_the_share_for_good(resources, sent, share):
    """Lesson 31. Its keys are gone from the vault when the answer goes out."""
    for left in (4, 3, 2, 1, 0):
        assert own_key(share) in keys_held(resources)
        refusal = refusal_of(resources, share, password=new_password())
        assert (type(refusal), refusal.members) == (WrongPassword, {"attempts_left": left})
    assert own_key(share) not in keys_held(resources)
    row = share_row(resources, share.id)
    assert (row.state, row.wrapped_key, row.failures) == (ShareState.LOCKED, None, 5)
    assert isinstance(refusal_of(resources, share), ShareLocked)
    assert [entry["count"] for entry in log_of(resources, event="password.wrong", address=ADDRESS)] == [1, 2, 3, 4, 5]
    assert events_of(resources, share=share.id)[-1] == "share.locked"
    transfer = transfer_row(resources, sent.id)
    assert transfer.state == TransferState.LIVE  # the depositor can issue another
    assert EntryName(sent.id, sent.transfer.expires_at) in keys_held(resources)


def test_attempts_left_are_shown_to_whoever_holds_the_link(resources, share):
    refusal_of(resources, share, password=WRONG_PASSWORD)
    assert look_at_share(resources, share.id, wrapping.link_proof(share.link_secret)).attempts_left == 4


def test_the_right_password_after_wrong_ones_still_opens(resources, share):
    for _ in range(4):
        refusal_of(resources, share, password=WRONG_PASSWORD)
    assert run(fetch(resources, run(claim(resources, share)))) == CONTENT


def test_the_number_of_attempts_is_a_setting(start_service, share):
    strict = start_service(password_attempts=1)
    assert refusal_of(strict, share, password=WRONG_PASSWORD).members == {"attempts_left": 0}
    assert isinstance(refusal_of(strict, share), ShareLocked)


@pytest.mark.parametrize(
    "password",
    ["x", "0000-0000-0000-000", "0000-0000-0000-00000", "UUUU-0000-0000-0000", "\u0660" * 16, "0" * 5000, "\0" * 16],
)
def test_a_malformed_password_costs_nothing(resources, share, password, monkeypatch):
    """docs/problems.md: no attempt spent, no Argon2."""
    monkeypatch.setattr(HashingQueue, "stretch", None)
    for _ in range(6):
        assert isinstance(refusal_of(resources, share, password=password), MalformedPassword)
    monkeypatch.undo()
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)


def test_attempts_are_reserved_before_they_are_judged(resources, share):
    """Lesson 31: a crowd that guesses at once has five guesses all the same."""
    crowd = [replace(resources, claiming=HashingQueue(waiting=20)) for _ in range(10)]

    async def story():
        guesses = [claim(each, share, password=new_password()) for each in crowd for _ in range(3)]
        return await asyncio.gather(*guesses, return_exceptions=True)

    answers = Counter(type(answer) for answer in run(story()))
    assert answers[WrongPassword] == 5
    assert set(answers) <= {WrongPassword, Busy, ShareLocked}
    assert share_row(resources, share.id).state == ShareState.LOCKED


# Attempts under way


def test_when_all_attempts_are_being_judged_the_next_one_waits(resources, share, time):
    change(resources, shares, share.id, attempts=5, failures=2, attempted_at=time())
    assert isinstance(refusal_of(resources, share), Busy)
    time.pass_by(STALE_ATTEMPT - timedelta(seconds=1))
    assert isinstance(refusal_of(resources, share), Busy)
    assert share_row(resources, share.id).state == ShareState.ISSUED
    assert own_key(share) in keys_held(resources)


def test_attempts_whose_process_died_stay_spent(resources, share, time):
    """Or killing workers would buy guesses."""
    change(resources, shares, share.id, attempts=5, failures=2, attempted_at=time())
    time.pass_by(STALE_ATTEMPT)
    assert isinstance(refusal_of(resources, share), ShareLocked)
    assert share_row(resources, share.id).state == ShareState.LOCKED
    assert own_key(share) not in keys_held(resources)
    assert events_of(resources, event="share.locked") == ["share.locked"]


def test_a_full_queue_spends_no_attempt(resources, share):
    small = replace(resources, claiming=HashingQueue(waiting=0))

    async def story():
        async with small.claiming.turn(ADDRESS):
            with pytest.raises(Busy):
                await claim(small, share)

    run(story())
    assert_nothing_redeemed(resources, share)


@pytest.mark.parametrize(("queue", "waiting"), [("claiming", 16), ("issuing", 256), ("reporting", 4)])
def test_every_queue_of_the_service_has_an_end(resources, queue, waiting):
    """Lesson 31: a crowd can neither exhaust memory nor have others wait for hours."""
    bounded = getattr(resources, queue)
    go_on = asyncio.Event()

    async def turn():
        async with bounded.turn("one party"):
            await go_on.wait()

    async def story():
        turns = [asyncio.create_task(turn()) for _ in range(1 + waiting)]
        await asyncio.sleep(0)
        one_more = asyncio.create_task(turn())
        await asyncio.sleep(0)
        refused = one_more.done()
        go_on.set()
        assert refused
        assert isinstance((await asyncio.gather(*turns, one_more, return_exceptions=True))[-1], Busy)
        await turn()

    run(story())


def test_hashing_that_fails_spends_no_attempt(resources, share, monkeypatch):
    async def out_of_memory(*_given):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(HashingQueue, "stretch", out_of_memory)
        assert isinstance(refusal_of(resources, share), Busy)
    assert_nothing_redeemed(resources, share)


@pytest.mark.parametrize(
    "altered",
    [
        {"argon2_time": 400_000},
        {"argon2_memory_kib": 700_000},
        {"argon2_lanes": 17, "argon2_memory_kib": 1024},
        {"argon2_time": 0},
        {"argon2_lanes": -1},
    ],
    ids=lambda altered: "-".join(f"{name[7:]}={value}" for name, value in altered.items()),
)
def test_a_row_that_asks_for_endless_hashing_is_refused_before_it(resources, share, altered, monkeypatch):
    """It would keep all other recipients waiting, or take their memory."""
    change(resources, shares, share.id, **altered)
    with monkeypatch.context() as patch:
        patch.setattr(HashingQueue, "stretch", None)
        assert isinstance(refusal_of(resources, share), Busy)
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)
    compared = compare_everything(resources, verified_too=True)
    assert compared.shown == [Contradiction("hashing", share.transfer_id)]


def test_whoever_configures_more_than_the_ceilings_may(start_service, caller):
    costly = start_service(argon2_time=12, argon2_memory_kib=160, argon2_lanes=20)
    share = send(costly, caller).share
    assert run(fetch(costly, run(claim(costly, share)))) == CONTENT
    assert compare_everything(costly, verified_too=True).shown == []
