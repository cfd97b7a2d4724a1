"""Claiming at once: many claims of one share, and a claim beside a withdrawal."""

import asyncio
import threading
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import event as sql_events

from app.actions.claim_share import Claimed, claim_share
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_secret
from app.db import share_rows
from app.domain.errors import (
    Busy,
    Refusal,
    ShareUsed,
)
from app.domain.share import ShareState
from app.runtime.hashing_queue import HashingQueue
from tests.integration.actions.claim_stories import (
    by_proof,
    by_secret,
)
from tests.integration.actions.stories import (
    CONTENT,
    WRONG_PASSWORD,
    claim,
    claim_row,
    fetch,
    run,
    send,
    share_row,
)


def test_fifty_with_the_right_password_at_once_one_wins_and_nothing_is_locked(resources, share):
    """Lesson 13 (onetimesecret 0.26.0, PasswordPusher #4738, Send PR #238): correct racers never lock a share."""
    patient = replace(resources, claiming=HashingQueue(waiting=64))

    async def story():
        return await asyncio.gather(*(claim(patient, share) for _ in range(50)), return_exceptions=True)

    answers = run(story())
    assert Counter(type(answer) for answer in answers) == {Claimed: 1, ShareUsed: 49}
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)
    (winner,) = (answer for answer in answers if isinstance(answer, Claimed))
    assert run(fetch(resources, winner)) == CONTENT


def test_racers_in_many_processes_one_wins_and_nothing_is_locked(start_service, resources, share):
    """Lesson 13, over several workers: more at once than there are attempts."""
    services = [start_service() for _ in range(8)]
    answers: list[object] = []
    together = threading.Barrier(len(services))

    def race(service):
        together.wait()

        async def story():
            return await asyncio.gather(*(claim(service, share) for _ in range(3)), return_exceptions=True)

        answers.extend(run(story()))

    racers = [threading.Thread(target=race, args=(service,)) for service in services]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    counted = Counter(type(answer) for answer in answers)
    assert counted[Claimed] == 1
    assert set(counted) <= {Claimed, ShareUsed, Busy}
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)


@pytest.mark.parametrize("way", ["secret", "proof"])
def test_one_claim_sent_many_times_at_once_gets_one_answer(start_service, resources, share, way):
    """Lesson 15: a recipient that repeats before the first answer came is the winner all the same."""
    services = [start_service() for _ in range(2)]
    presented = (by_proof if way == "proof" else by_secret)(share, token=new_secret())
    together = threading.Barrier(len(services))
    answers: list[object] = []

    async def until_judged(service):
        while True:
            try:
                return await claim_share(service, share.id, presented)
            except Busy:
                await asyncio.sleep(0.01)

    def send_it(service):
        together.wait()

        async def story():
            return await asyncio.gather(*(until_judged(service) for _ in range(4)), return_exceptions=True)

        answers.extend(run(story()))

    senders = [threading.Thread(target=send_it, args=(service,)) for service in services]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert Counter(type(answer) for answer in answers) == {Claimed: 8}
    assert {(answer.claim_id, answer.token) for answer in answers if isinstance(answer, Claimed)} == {
        (claim_row(resources, share.id).id, presented.token)
    }
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)


@pytest.mark.parametrize("way", ["secret", "proof"])
def test_nobody_is_handed_a_claim_that_another_wins_while_the_share_is_read(resources, share, monkeypatch, way):
    """Lesson 13: PostgreSQL shows each statement another state, so share and claim are read in one snapshot."""
    rival, real = replace(resources, claiming=HashingQueue(waiting=1)), share_rows.claim_of_share
    won: list[Claimed] = []
    reads: list[str] = []

    def another_wins_meanwhile(connection, share_id):
        reads.append(share_id)
        if len(reads) == 2:  # the second look, with the turn to hash already taken
            monkeypatch.setattr(share_rows, "claim_of_share", real)
            racer = threading.Thread(target=lambda: won.append(run(claim(rival, share))))
            racer.start()
            racer.join()
        return real(connection, share_id)

    monkeypatch.setattr(share_rows, "claim_of_share", another_wins_meanwhile)
    presented = by_proof(share, token=new_secret()) if way == "proof" else by_secret(share, token=new_secret())
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, presented))
    assert len(won) == 1
    assert run(fetch(resources, won[0])) == CONTENT


def test_a_claim_beside_a_share_that_nobody_has_claimed_yet_is_handed_to_nobody(resources, caller, share, monkeypatch):
    """The same, should some database show the two as of different moments all the same."""
    other = send(resources, caller).share
    foreign = run(claim(resources, other))
    row = claim_row(resources, other.id)
    with monkeypatch.context() as patch:
        patch.setattr(share_rows, "claim_of_share", lambda _connection, _share_id: row)
        claimed = run(claim(resources, share))
    assert claimed.claim_id != foreign.claim_id
    assert run(fetch(resources, claimed)) == CONTENT


def told(act, problems):
    """Run `act`; a refusal is an answer, anything else a problem."""
    try:
        act()
    except Refusal:
        pass
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test tells it
        problems.append(error)


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("password", ["right", "wrong"])
def test_whoever_uses_a_share_and_whoever_ends_it_lock_in_the_same_order(start_service, caller, password):
    """Or PostgreSQL ends the one or the other as a deadlock, and somebody reads "the database failed"."""
    claiming, withdrawing = start_service(password_attempts=1), start_service()
    share = send(claiming, caller).share
    holds_share, holds_transfer = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def used(_connection, _cursor, statement, *_more):
        if statement.startswith(("UPDATE shares SET state", "UPDATE shares SET failures")):
            holds_share.set()
            holds_transfer.wait(0.5)  # in vain, if the transfer was locked before the share

    def locked(_connection, _cursor, statement, *_more):
        if "FOR UPDATE" in statement:
            holds_transfer.set()

    def withdraw():
        assert holds_share.wait(5)
        withdraw_share(withdrawing, share.id, caller=caller)

    sql_events.listen(claiming.database.engine, "after_cursor_execute", used)
    sql_events.listen(withdrawing.database.engine, "after_cursor_execute", locked)
    given = share.password if password == "right" else WRONG_PASSWORD
    acts = [lambda: run(claim(claiming, share, password=given)), withdraw]
    threads = [threading.Thread(target=told, args=(act, problems)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert share_row(claiming, share.id).state in {ShareState.WITHDRAWN, ShareState.LOCKED}
