"""A transfer without limits would slow all others down: the database counts its files and its open shares."""

import asyncio

import pytest
from sqlalchemy import Engine, event, insert

from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id
from app.db import file_rows
from app.db.tables import files, shares
from app.domain.errors import TooManyFiles, TooManyShares
from app.domain.transfer import FileState
from tests.integration.actions.sealed_stories import a_sealed_transfer, deposit_sealed, prepare
from tests.integration.actions.stories import a_transfer, blobs_held, count_rows, deposit, files_of, issue, run


@pytest.fixture
def transfer(resources, caller):
    return a_transfer(resources, caller)


@pytest.fixture
def small(start_service):
    return start_service(max_files=3, max_shares=2)


def add_rows(resources, transfer, numbers, state=FileState.LIVE):
    """Put in files by number, without their bytes."""
    template = {"transfer_id": transfer.id, "state": state, "size": 1, "sealed_size": 73, "sealed_meta": b""}
    rows = [
        template | {"number": number, "blob_id": new_id(), "created_at": resources.clock.now()} for number in numbers
    ]
    with resources.database.writing() as transaction:
        transaction.connection.execute(insert(files), rows)


async def a_body_that_nobody_reads():
    for piece in [b""]:
        yield piece
        raise AssertionError("the body was read")


def test_one_file_too_many_is_refused_before_its_body(small, caller, transfer):
    for _ in range(3):
        run(deposit(small, caller, transfer))
    held = blobs_held(small)
    with pytest.raises(TooManyFiles) as refused:
        run(deposit(small, caller, transfer, a_body_that_nobody_reads()))
    assert refused.value.members == {"max_files": 3}
    assert blobs_held(small) == held
    assert run(issue(small, caller, transfer)).transfer_id == transfer.id


def test_files_that_are_still_received_count_too(small, caller, transfer):
    """Or a transfer could be filled by uploads at once."""

    async def story():
        return await asyncio.gather(
            *(deposit(small, caller, transfer) for _ in range(8)),
            return_exceptions=True,
        )

    answers = run(story())
    assert sum(isinstance(answer, TooManyFiles) for answer in answers) == 5
    assert len(files_of(small, transfer.id)) == 3


def test_a_sealed_transfer_has_the_same_caps(small, caller):
    transfer = a_sealed_transfer(small, caller)

    async def story():
        for number in range(3):
            await deposit_sealed(small, caller, transfer, number=number)
        with pytest.raises(TooManyFiles):
            await deposit_sealed(small, caller, transfer, number=3)
        for _ in range(2):
            await prepare(small, caller, transfer)
        with pytest.raises(TooManyShares):
            await prepare(small, caller, transfer)

    run(story())


def test_one_open_share_too_many_is_refused_until_another_has_ended(small, caller, transfer):
    run(deposit(small, caller, transfer))
    first = run(issue(small, caller, transfer))
    run(issue(small, caller, transfer))
    with pytest.raises(TooManyShares) as refused:
        run(issue(small, caller, transfer))
    assert refused.value.members == {"max_shares": 2}
    assert count_rows(small, shares) == 2
    withdraw_share(small, first.id, caller=caller)
    assert run(issue(small, caller, transfer)).transfer_id == transfer.id


def test_shares_issued_at_once_keep_to_the_cap(small, caller, transfer):
    """It is judged again in the transaction that stores the share."""
    run(deposit(small, caller, transfer))

    async def story():
        return await asyncio.gather(*(issue(small, caller, transfer) for _ in range(6)), return_exceptions=True)

    answers = run(story())
    assert sum(isinstance(answer, TooManyShares) for answer in answers) == 4
    assert count_rows(small, shares) == 2


@pytest.mark.parametrize(
    ("taken", "free"), [([], 0), ([0], 1), ([1], 0), ([0, 1, 2], 3), ([0, 2], 1), ([0, 1, 3, 5], 2), ([2, 3], 0)]
)
def test_the_lowest_free_number_is_used_again(resources, transfer, taken, free):
    add_rows(resources, transfer, taken) if taken else None
    with resources.database.reading() as connection:
        counted = file_rows.counts(connection, transfer.id)
        assert file_rows.free_number(connection, transfer.id) == free
    assert (counted.files, counted.highest) == (len(taken), max(taken, default=-1))
    assert counted.are_contiguous == (taken == list(range(len(taken))))


def test_a_deposit_into_a_full_transfer_reads_no_rows_of_files_one_by_one(resources, caller, transfer):
    """Each upload read all of them, twice, while it held the database's write lock."""
    add_rows(resources, transfer, range(999))
    seen = []

    def note(*given):
        seen.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        run(deposit(resources, caller, transfer))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert any("count(*)" in statement for statement in seen)
    of_files = [statement for statement in seen if "FROM files" in statement and "sealed_meta" in statement]
    assert of_files == []
    with pytest.raises(TooManyFiles):
        run(deposit(resources, caller, transfer))
