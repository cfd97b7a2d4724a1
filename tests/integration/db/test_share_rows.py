"""Rows of shares and claims: what makes a share work once."""

import threading

import pytest

from app.crypto.token import new_id
from app.db import share_rows, transfer_rows
from app.db.engine import Database
from app.domain.claim import DELIVERED_WINDOW
from app.domain.share import OPEN_STATES, ShareState
from tests.integration.db.rows import EXPIRY, HOUR, NOW, SECOND, a_share, a_transfer, claim_of


@pytest.fixture
def writing(filled):
    with filled.writing() as transaction:
        yield transaction.connection


@pytest.fixture
def share(writing):
    return a_share(writing, a_transfer(writing))


def row_of(connection, share):
    row = share_rows.find(connection, share.id)
    assert row is not None
    return row


def in_threads(count, work):
    """Run `work(number)` in so many threads at once; what each answers, in order."""
    answers: list[object] = [None] * count
    together = threading.Barrier(count)

    def run(number):
        together.wait()
        answers[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# Claiming


def test_of_fifty_claims_at_once_from_several_processes_one_wins(filled):
    """Lesson 13: 50 claims at once, exactly one succeeds (onetimesecret 0.26.0, PasswordPusher #4738, Send PR #238)."""
    with filled.writing() as transaction:
        share = a_share(transaction.connection, a_transfer(transaction.connection))
    url = filled.engine.url.render_as_string(hide_password=False)
    databases = [filled, Database(url), Database(url)]
    claims = [claim_of(share) for _ in range(50)]

    def work(number):
        with databases[number % 3].writing() as transaction:
            return share_rows.claim(transaction.connection, claims[number], NOW)

    answers = in_threads(50, work)
    for database in databases[1:]:
        database.close()
    assert sorted(answers) == [False] * 49 + [True]
    with filled.reading() as connection:
        assert share_rows.claim_of_share(connection, share.id) == claims[answers.index(True)]
        assert row_of(connection, share).used_at == NOW
        assert [share_rows.find_claim(connection, claim.id) for claim in claims].count(None) == 49


@pytest.mark.parametrize("state", ShareState)
def test_only_an_issued_share_can_be_claimed(writing, state):
    share = a_share(writing, a_transfer(writing), state=state)
    won = share_rows.claim(writing, claim_of(share), NOW)
    assert won is (state == ShareState.ISSUED)
    assert row_of(writing, share).state == (ShareState.CLAIMED if won else state)
    assert (share_rows.claim_of_share(writing, share.id) is not None) is won


def test_a_share_cannot_be_claimed_from_the_first_instant_of_its_expiry(writing, share):
    """Lesson 1: judged by the database itself in the one statement that decides."""
    assert not share_rows.claim(writing, claim_of(share), EXPIRY)
    assert share_rows.claim(writing, claim_of(share), EXPIRY - SECOND.resolution)


def test_claims_are_found_by_id_by_share_and_by_transfer(writing, share):
    claim = claim_of(share)
    assert share_rows.claim(writing, claim, NOW)
    assert share_rows.find_claim(writing, claim.id) == claim
    assert share_rows.claim_of_share(writing, share.id) == claim
    assert share_rows.claims_of(writing, [share.transfer_id, new_id()]) == [claim]
    assert share_rows.claims_of(writing, [new_id()]) == []
    assert share_rows.find_claim(writing, new_id()) is None


# Attempts


def test_no_more_attempts_are_reserved_than_there_are(writing, share):
    answers = [share_rows.reserve_attempt(writing, share.id, 5, NOW + step * SECOND) for step in range(7)]
    assert answers == [True] * 5 + [False] * 2
    assert (row_of(writing, share).attempts, row_of(writing, share).attempted_at) == (5, NOW + 4 * SECOND)
    share_rows.return_attempt(writing, share.id)
    assert share_rows.reserve_attempt(writing, share.id, 5, NOW)
    assert not share_rows.reserve_attempt(writing, share.id, 5, NOW)


def test_attempts_at_once_are_not_more_than_there_are(filled):
    """Lesson 31: the attempt is reserved before hashing, so no crowd gets a sixth guess."""
    with filled.writing() as transaction:
        share = a_share(transaction.connection, a_transfer(transaction.connection))

    def work(_number):
        with filled.writing() as transaction:
            return share_rows.reserve_attempt(transaction.connection, share.id, 5, NOW)

    assert sum(bool(answer) for answer in in_threads(20, work)) == 5


@pytest.mark.parametrize("state", ShareState)
def test_attempts_are_only_for_shares_that_stand(writing, state):
    share = a_share(writing, a_transfer(writing), state=state)
    assert share_rows.reserve_attempt(writing, share.id, 5, NOW) is (state in {ShareState.ISSUED, ShareState.CLAIMED})


def test_an_attempt_that_was_never_reserved_cannot_be_returned(writing, share):
    share_rows.return_attempt(writing, share.id)
    assert row_of(writing, share).attempts == 0


def test_failures_are_counted_one_by_one(writing, share):
    other = a_share(writing, a_transfer(writing))
    assert [share_rows.count_failure(writing, share.id) for _ in range(3)] == [1, 2, 3]
    assert row_of(writing, other).failures == 0


# Ends


@pytest.mark.parametrize("state", ShareState)
def test_a_share_ends_once_and_its_wrapped_keys_go_with_it(writing, state):
    """Lesson 18: whatever the end, the wraps are destroyed in the same transaction."""
    share = a_share(writing, a_transfer(writing))
    assert share_rows.claim(writing, claim_of(share), NOW)
    if state in OPEN_STATES:
        return
    assert share_rows.end(writing, [share.id], state, NOW + SECOND) == {share.id}
    row, claim = row_of(writing, share), share_rows.claim_of_share(writing, share.id)
    assert (row.state, row.ended_at, row.wrapped_key) == (state, NOW + SECOND, None)
    assert claim is not None
    assert claim.wrapped_key is None
    for other in ShareState:
        assert share_rows.end(writing, [share.id], other, NOW + HOUR) == set()
    assert row_of(writing, share) == row


def test_of_many_ends_at_once_one_counts(filled):
    with filled.writing() as transaction:
        share = a_share(transaction.connection, a_transfer(transaction.connection))
    ends = [state for state in ShareState if state not in OPEN_STATES] * 4

    def work(number):
        with filled.writing() as transaction:
            return bool(share_rows.end(transaction.connection, [share.id], ends[number], NOW))

    answers = in_threads(len(ends), work)
    assert answers.count(True) == 1
    with filled.reading() as connection:
        assert row_of(connection, share).state == ends[answers.index(True)]


def test_ending_one_share_leaves_the_others_their_keys(writing, share):
    transfer = transfer_rows.find(writing, share.transfer_id)
    assert transfer is not None
    other = a_share(writing, transfer)
    assert share_rows.claim(writing, claim_of(other), NOW)
    share_rows.end(writing, [share.id], ShareState.WITHDRAWN, NOW)
    claim = share_rows.claim_of_share(writing, other.id)
    assert claim is not None
    assert (row_of(writing, other).wrapped_key, claim.wrapped_key) != (None, None)
    assert claim.wrapped_key is not None


def test_the_end_of_keys_is_noted_for_those_whose_it_is(writing, share):
    other = a_share(writing, a_transfer(writing))
    assert share_rows.mark_keys_destroyed(writing, [share.id], NOW) == {share.id}
    assert share_rows.mark_keys_destroyed(writing, [share.id], NOW + HOUR) == set()
    assert (row_of(writing, share).keys_destroyed_at, row_of(writing, other).keys_destroyed_at) == (NOW, None)


# Counting what was sent


def test_bytes_are_reserved_up_to_the_allowance_and_given_back(writing, share):
    claim = claim_of(share)
    share_rows.claim(writing, claim, NOW)
    assert share_rows.reserve_bytes(writing, claim.id, claim.allowance - 1)
    assert not share_rows.reserve_bytes(writing, claim.id, 2)
    assert share_rows.reserve_bytes(writing, claim.id, 1)
    share_rows.settle_bytes(writing, claim.id, reserved=claim.allowance - 1, sent=7)
    share_rows.move_window(writing, claim.id, NOW + 2 * HOUR)
    row = share_rows.find_claim(writing, claim.id)
    assert row is not None
    assert (row.bytes_served, row.bytes_reserved, row.window_until) == (7, 1, NOW + 2 * HOUR)
    assert share_rows.bytes_served(writing, [share.id]) == {share.id: 8}


def test_a_window_that_delivery_shortened_stays_short(writing, share):
    claim = claim_of(share)
    share_rows.claim(writing, claim, NOW)
    share_rows.mark_delivered(writing, claim.id, NOW, DELIVERED_WINDOW)
    share_rows.mark_delivered(writing, claim.id, NOW + HOUR, DELIVERED_WINDOW)
    share_rows.move_window(writing, claim.id, NOW + 9 * HOUR)
    row = share_rows.find_claim(writing, claim.id)
    assert row is not None
    assert (row.delivered_at, row.window_until) == (NOW, NOW + DELIVERED_WINDOW)


def test_shares_of_a_transfer_come_oldest_first(writing):
    transfer = a_transfer(writing)
    ids = [a_share(writing, transfer, issued_at=NOW - step * SECOND).id for step in range(3)]
    a_share(writing, a_transfer(writing))
    assert [row.id for row in share_rows.of_transfers(writing, [transfer.id])] == ids[::-1]


def test_a_row_comes_back_as_it_was_put(writing, share):
    assert share_rows.find(writing, share.id) == share
    assert share_rows.find(writing, new_id()) is None
