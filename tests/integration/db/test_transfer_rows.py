"""Rows of transfers and files: when the sweeper looks, who works on what, and what ends once."""

import pytest

from app.crypto.token import new_id
from app.db import (
    access_token_rows,
    file_rows,
    retention_figures,
    share_rows,
    transfer_listing,
    transfer_rows,
    whole_transfers,
)
from app.db.engine import Database
from app.db.errors import DatabaseUnavailable
from app.domain.share import ShareState
from app.domain.transfer import ENDING_STATES, OPEN_STATES, Ending, FileState, TransferState
from app.domain.transfer_list import TransferFilter
from tests.integration.db.rows import EXPIRY, HOUR, NOBODY, NOW, SECOND, a_file, a_share, a_token, a_transfer, claim_of

POSTGRES_ONLY = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def writing(filled):
    """The connection of one transaction that lasts as long as the test."""
    with filled.writing() as transaction:
        yield transaction.connection


def due_at(connection, transfer):
    row = transfer_rows.find(connection, transfer.id)
    assert row is not None
    return row.due_at


# When the sweeper looks


def test_bringing_forward_only_ever_makes_it_sooner(writing):
    """A later moment must not hide an earlier duty."""
    transfer = a_transfer(writing, due_at=EXPIRY)
    transfer_rows.bring_forward(writing, transfer.id, NOW + HOUR)
    assert due_at(writing, transfer) == NOW + HOUR
    transfer_rows.bring_forward(writing, transfer.id, NOW + 2 * HOUR)
    assert due_at(writing, transfer) == NOW + HOUR
    transfer_rows.bring_forward(writing, transfer.id, NOW - HOUR)
    assert due_at(writing, transfer) == NOW - HOUR


def test_bringing_forward_wakes_what_nobody_would_look_at_again(writing):
    transfer = a_transfer(writing, due_at=None)
    transfer_rows.bring_forward(writing, transfer.id, NOW)
    assert due_at(writing, transfer) == NOW


def test_what_is_longest_due_comes_first_and_what_is_not_due_does_not_come(writing):
    moments = {"late": NOW - HOUR, "now": NOW, "soon": NOW + SECOND.resolution, "later": NOW - SECOND, "never": None}
    names = {a_transfer(writing, due_at=moment).id: name for name, moment in moments.items()}
    assert [names[each] for each in transfer_rows.due(writing, NOW, 10)] == ["late", "later", "now"]
    assert [names[each] for each in transfer_rows.due(writing, NOW, 1)] == ["late"]


def test_anything_due_asks_the_same_question_as_due(writing):
    a_transfer(writing, due_at=None)
    transfer = a_transfer(writing, due_at=NOW)
    assert not transfer_rows.anything_due(writing, NOW - SECOND)
    assert transfer_rows.anything_due(writing, NOW)
    transfer_rows.set_due(writing, transfer.id, None)
    assert not transfer_rows.anything_due(writing, NOW + 1000 * HOUR)


def test_postponing_keeps_others_off_until_then(writing):
    taken, left = a_transfer(writing, due_at=NOW), a_transfer(writing, due_at=NOW)
    transfer_rows.postpone(writing, [taken.id], NOW + SECOND)
    assert transfer_rows.due(writing, NOW, 10) == [left.id]
    assert set(transfer_rows.due(writing, NOW + SECOND, 10)) == {taken.id, left.id}


@POSTGRES_ONLY
def test_what_one_sweeper_works_on_another_passes_over(filled):
    """FOR UPDATE SKIP LOCKED: any number of schedulers, none waits for another, none works twice."""
    with filled.writing() as transaction:
        ids = {a_transfer(transaction.connection, due_at=NOW).id for _ in range(5)}
    other = Database(filled.engine.url.render_as_string(hide_password=False))
    with filled.writing() as first, other.writing() as second:
        mine = set(transfer_rows.due(first.connection, NOW, 2))
        theirs = set(transfer_rows.due(second.connection, NOW, 10))
    other.close()
    assert len(mine) == 2
    assert theirs == ids - mine


# Ends


@pytest.mark.parametrize("state", TransferState)
def test_only_an_open_transfer_can_be_denied_and_its_wrapped_key_goes_with_it(writing, state):
    transfer = a_transfer(writing, state=state, failures=3)
    denied = transfer.id in transfer_rows.deny(writing, [transfer.id], Ending.DELETED, NOW)
    row = transfer_rows.find(writing, transfer.id)
    assert row is not None
    assert denied is (state in OPEN_STATES)
    if denied:
        assert (row.state, row.ending, row.denied_at) == (TransferState.DENIED, Ending.DELETED, NOW)
        assert (row.owner_wrap, row.due_at, row.failures) == (None, NOW, 0)
        assert transfer_rows.deny(writing, [transfer.id], Ending.EXPIRED, NOW + SECOND) == set()
        again = transfer_rows.find(writing, transfer.id)
        assert again is not None
        assert again.ending == Ending.DELETED
    else:
        assert row == transfer


STEPS = [TransferState.DENIED, TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED, TransferState.VERIFIED]


@pytest.mark.parametrize("step", STEPS[1:])
@pytest.mark.parametrize("state", TransferState)
def test_a_step_is_taken_from_the_one_before_and_once(writing, state, step):
    """Lesson 2: nothing reads "deleted" that was not seen to go through every step."""
    transfer = a_transfer(writing, state=state)
    took = state == STEPS[STEPS.index(step) - 1]
    assert transfer_rows.advance(writing, [transfer.id], step, NOW) == ({transfer.id} if took else set())
    row = transfer_rows.find(writing, transfer.id)
    assert row is not None
    assert (row.state, row.verified_at) == ((step, NOW) if took else (state, None))
    assert transfer_rows.advance(writing, [transfer.id], step, NOW) == set()


def test_only_the_named_take_a_step(writing):
    ids = [a_transfer(writing, state=TransferState.DENIED).id for _ in range(3)]
    assert transfer_rows.advance(writing, ids[:2], TransferState.KEYS_DESTROYED, None) == set(ids[:2])
    states = {row.id: row.state for row in transfer_rows.find_all(writing, ids, for_update=True)}
    assert states == {
        **dict.fromkeys(ids[:2], TransferState.KEYS_DESTROYED),
        ids[2]: TransferState.DENIED,
    }


def test_closing_keeps_the_first_time(writing):
    transfer = a_transfer(writing)
    transfer_rows.close(writing, transfer.id, NOW)
    transfer_rows.close(writing, transfer.id, NOW + HOUR)
    row = transfer_rows.find(writing, transfer.id)
    assert row is not None
    assert row.closed_at == NOW


@pytest.mark.parametrize("state", TransferState)
def test_a_file_makes_an_open_transfer_live_and_leaves_an_ended_one_alone(writing, state):
    transfer = a_transfer(writing, state=state)
    transfer_rows.mark_live(writing, transfer.id, NOW)
    row = transfer_rows.find(writing, transfer.id)
    assert row is not None
    takes = state in OPEN_STATES
    assert (row.state, row.due_at) == ((TransferState.LIVE, NOW) if takes else (state, transfer.due_at))


# What operators ask


def test_overdue_is_what_should_be_gone_and_is_not(writing):
    """Due is the expiry, or the denial where that came first."""
    assert retention_figures.overdue(writing, NOW) == (0, None)
    a_transfer(writing, expires_at=NOW + SECOND)
    assert retention_figures.overdue(writing, NOW) == (0, None)
    a_transfer(writing, expires_at=NOW)
    assert retention_figures.overdue(writing, NOW) == (1, NOW)
    early = {"state": TransferState.DENIED, "denied_at": NOW - HOUR, "expires_at": EXPIRY}
    late = {"state": TransferState.BYTES_DELETED, "denied_at": NOW, "expires_at": NOW - SECOND}
    a_transfer(writing, **early)
    a_transfer(writing, **late)
    a_transfer(writing, state=TransferState.VERIFIED, denied_at=NOW - 9 * HOUR, expires_at=NOW - 9 * HOUR)
    assert retention_figures.overdue(writing, NOW) == (3, NOW - HOUR)


@pytest.mark.parametrize("state", TransferState)
def test_keys_left_are_those_of_transfers_whose_deletion_failed_before_the_keys_were_gone(writing, state):
    """Lesson 2: such a sweep never counts as successful, on the next one either while the retry waits."""
    a_transfer(writing, state=state, expires_at=NOW)
    assert retention_figures.count_keys_left(writing, NOW) == 0
    a_transfer(writing, state=state, expires_at=NOW, failures=1, due_at=NOW + 9 * HOUR)
    keyed = state in OPEN_STATES or state == TransferState.DENIED
    assert retention_figures.count_keys_left(writing, NOW) == int(keyed)


@pytest.mark.parametrize("state", OPEN_STATES)
def test_of_open_transfers_only_the_keys_of_ended_shares_are_left(writing, state):
    """Bytes of a broken upload that resist are no key."""
    transfer = a_transfer(writing, state=state, expires_at=NOW + HOUR, failures=1)
    share = a_share(writing, transfer)
    assert retention_figures.count_keys_left(writing, NOW) == 0
    share_rows.end(writing, [share.id], ShareState.WITHDRAWN, NOW)
    assert retention_figures.count_keys_left(writing, NOW) == 1
    share_rows.mark_keys_destroyed(writing, [share.id], NOW)
    assert retention_figures.count_keys_left(writing, NOW) == 0


@pytest.mark.parametrize("state", TransferState)
def test_bytes_left_count_once_they_have_resisted_for_long(writing, state):
    a_transfer(writing, state=state, failures=1, denied_at=NOW)
    a_transfer(writing, state=state, failures=0, denied_at=NOW - HOUR)
    assert retention_figures.count_bytes_left(writing, NOW) == 0
    resisting = state in {TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED}
    assert retention_figures.count_bytes_left(writing, NOW + SECOND) == int(resisting)


def test_failing_deletions_are_named_worst_first_until_they_are_done(writing):
    rows = [a_transfer(writing, state=TransferState.DENIED, failures=failures) for failures in (0, 2, 5)]
    a_transfer(writing, state=TransferState.VERIFIED, failures=9)
    assert retention_figures.failing(writing, 10) == [rows[2].id, rows[1].id]
    assert [transfer_rows.count_failure(writing, rows[1].id) for _ in range(4)] == [3, 4, 5, 6]
    assert retention_figures.failing(writing, 10) == [rows[1].id, rows[2].id]
    transfer_rows.note_success(writing, {rows[2].id: NOW + HOUR})
    assert retention_figures.failing(writing, 10) == [rows[1].id]


def test_a_state_that_nobody_knows_is_overdue_from_the_start_and_its_key_is_left(writing):
    """Nobody can tell whether it has ended: it must not be what no list of states names."""
    damaged = {"state": "liwe", "expires_at": NOW + HOUR}
    a_transfer(writing, **damaged)
    assert retention_figures.overdue(writing, NOW) == (1, NOW)
    assert retention_figures.overdue(writing, NOW + 3 * HOUR) == (1, NOW + HOUR)
    a_transfer(writing, **damaged, failures=1)
    assert (retention_figures.overdue(writing, NOW)[0], retention_figures.count_keys_left(writing, NOW)) == (2, 1)


def test_states_are_counted(writing):
    for state in (TransferState.LIVE, TransferState.LIVE, TransferState.VERIFIED):
        a_transfer(writing, state=state)
    assert retention_figures.count_by_state(writing) == {"live": 2, "verified": 1}


def test_a_depositor_has_own_transfers_only_newest_first(writing):
    """Lesson 30."""
    somebody = "S" * 21 + "A"
    a_token(writing, somebody, b"S" * 32)
    mine = [a_transfer(writing, created_at=NOW + step * SECOND).id for step in range(3)]
    other = a_transfer(writing, token_id=somebody, created_at=NOW - HOUR).id
    own = TransferFilter(owner=f"token:{NOBODY}")
    assert [row.id for row in transfer_listing.page(writing, own, None, 10)[0]] == mine[::-1]
    assert [row.id for row in transfer_listing.page(writing, own, None, 2)[0]] == mine[:0:-1]
    assert [row.id for row in transfer_listing.page(writing, TransferFilter(), None, 10)[0]] == [*mine[::-1], other]


def test_people_are_forgotten_with_their_transfer_and_no_others(writing):
    gone, other = (a_transfer(writing, label="Sent by Dr M") for _ in range(2))
    shares = [a_share(writing, transfer, recipient="Ms D") for transfer in (gone, other)]
    transfer_rows.forget_people(writing, [gone.id])
    share_rows.forget_people(writing, [gone.id])
    labels = [row.label for row in (transfer_rows.find(writing, each.id) for each in (gone, other)) if row]
    recipients = [row.recipient for row in (share_rows.find(writing, each.id) for each in shares) if row]
    assert labels == [None, "Sent by Dr M"]
    assert recipients == [None, "Ms D"]
    assert due_at(writing, gone) is None


# Ids


@pytest.mark.parametrize(
    "asked", ["", "x", "a\0b", "\0" * 22, "../../../../etc/passwd", "'; DROP TABLE transfers--", "\u00e9" * 22]
)
def test_what_is_no_id_finds_nothing_and_raises_nothing(writing, asked):
    """Lesson 26: PostgreSQL refuses NUL in a text, which would be a 500."""
    assert transfer_rows.find(writing, asked) is None
    assert share_rows.find(writing, asked) is None
    assert share_rows.find_claim(writing, asked) is None


# Files


def test_a_file_counts_once_and_only_while_it_was_being_received(writing):
    transfer = a_transfer(writing)
    receiving = a_file(writing, transfer, state=FileState.RECEIVING, size=0, sealed_meta=None, lease_until=NOW)
    finished = file_rows.FileRow(
        transfer.id, 0, receiving.blob_id, FileState.LIVE, 5, 77, b"meta", receiving.created_at, None
    )
    assert file_rows.lease_of(writing, receiving.blob_id) == NOW
    assert file_rows.renew_lease(writing, receiving.blob_id, NOW + HOUR)
    assert file_rows.finish(writing, finished)
    assert file_rows.of_transfers(writing, [transfer.id]) == [finished]
    assert file_rows.lease_of(writing, receiving.blob_id) is None
    assert not file_rows.finish(writing, finished)
    assert not file_rows.renew_lease(writing, receiving.blob_id, NOW + 9 * HOUR)
    assert not file_rows.drop(writing, receiving.blob_id)  # only unfinished ones are dropped
    assert file_rows.of_transfers(writing, [transfer.id]) == [finished]


def test_the_row_of_an_upload_that_was_dropped_cannot_be_finished(writing):
    transfer = a_transfer(writing)
    receiving = a_file(writing, transfer, state=FileState.RECEIVING, lease_until=NOW)
    assert file_rows.drop(writing, receiving.blob_id)
    assert not file_rows.drop(writing, receiving.blob_id)
    assert file_rows.of_transfers(writing, [transfer.id]) == []
    assert not file_rows.finish(writing, receiving)
    assert not file_rows.renew_lease(writing, receiving.blob_id, NOW + HOUR)


def test_two_files_never_have_one_number(filled):
    with filled.writing() as transaction:
        transfer = a_transfer(transaction.connection)
        a_file(transaction.connection, transfer, 0)
    with pytest.raises(DatabaseUnavailable), filled.writing() as transaction:
        a_file(transaction.connection, transfer, 0)


def test_files_come_in_order_and_lose_their_names_at_the_end(writing):
    transfer, other = a_transfer(writing), a_transfer(writing)
    for number in (2, 0, 1):
        a_file(writing, transfer, number)
    a_file(writing, other)
    assert [file.number for file in file_rows.of_transfers(writing, [transfer.id])] == [0, 1, 2]
    file_rows.strip(writing, [transfer.id])
    assert {file.sealed_meta for file in file_rows.of_transfers(writing, [transfer.id])} == {None}
    assert [file.sealed_meta for file in file_rows.of_transfers(writing, [other.id])] == [b"sealed"]


def test_whole_transfers_keep_their_order_and_their_own(writing):
    rows = [a_transfer(writing) for _ in range(3)]
    files = [a_file(writing, row) for row in rows[:2]]
    share = a_share(writing, rows[1])
    claim = claim_of(share)
    assert share_rows.claim(writing, claim, NOW)
    wholes = whole_transfers.load(writing, rows[::-1])
    assert [whole.transfer.id for whole in wholes] == [row.id for row in rows[::-1]]
    assert [[file.blob_id for file in whole.files] for whole in wholes] == [[], [files[1].blob_id], [files[0].blob_id]]
    assert [[(each.id, each.state) for each in whole.shares] for whole in wholes] == [
        [],
        [(share.id, ShareState.CLAIMED)],
        [],
    ]
    assert [whole.claims for whole in wholes] == [[], [claim], []]
    assert whole_transfers.load(writing, []) == []


def test_a_row_comes_back_as_it_was_put(writing):
    transfer = a_transfer(writing, label="l", purpose="p", records=7, keep_until_expiry=True, closed_at=NOW)
    assert transfer_rows.find(writing, transfer.id) == transfer
    assert transfer_rows.find(writing, transfer.id, for_update=True) == transfer
    assert transfer_rows.find(writing, new_id()) is None


# Access tokens


def test_a_token_is_found_by_its_digest_and_revoked_once(writing):
    """Lesson 30."""
    found = access_token_rows.find_by_digest(writing, bytes(32))
    assert found is not None
    assert (found.id, found.revoked_at) == (NOBODY, None)
    assert access_token_rows.find_by_digest(writing, b"x" * 32) is None
    assert access_token_rows.revoke(writing, NOBODY, NOW) is True
    assert access_token_rows.revoke(writing, NOBODY, NOW + HOUR) is False
    assert access_token_rows.revoke(writing, new_id(), NOW) is False
    assert [row.revoked_at for row in access_token_rows.every(writing)] == [NOW]


def test_every_state_is_known_to_be_open_or_to_be_ending():
    assert set(OPEN_STATES).isdisjoint(ENDING_STATES)
