"""Deposits that break off, or are cut while they run, leave nothing."""

import asyncio
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy import event as sql_events

from app.actions import sweep as sweeping
from app.actions.delete_transfer import delete_transfer
from app.actions.lock_down import lift_lockdown, lock_down
from app.crypto import chunked
from app.db.tables import files
from app.domain.errors import (
    ClientTooSlow,
    ClockNotTrusted,
    LockedDown,
    RetentionNotAssured,
    TransferEnded,
)
from app.domain.transfer import FileState, TransferState
from app.lifecycle import intake as module
from app.runtime.fault_points import on_reach
from app.storage.errors import BlobUnavailable
from app.storage.local_disk import LocalDisk
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    assert_nothing_left,
    blobs_held,
    claim,
    count_rows,
    deposit,
    events_of,
    fetch,
    files_of,
    issue,
    keys_held,
    run,
    transfer_row,
)


@pytest.fixture
def short_lived(resources, caller):
    """It expires before the dead-man's switch falls: no sweep runs here."""
    return a_transfer(resources, caller, lifetime=resources.settings.deadman - timedelta(minutes=1))


class Broken(Exception):
    pass


async def breaks_off(*pieces):
    for piece in pieces:
        yield piece
    raise Broken


# Whatever breaks off leaves nothing


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x" * 3_000_000]])
def test_a_body_that_breaks_off_leaves_nothing_and_its_number_is_taken_again(resources, caller, transfer, pieces):
    """Lesson 9: no partial upload survives an abort."""
    with pytest.raises(Broken):
        run(deposit(resources, caller, transfer, breaks_off(*pieces)))
    assert_nothing_left(resources, transfer.id)
    assert run(deposit(resources, caller, transfer)).number == 0


def test_the_number_of_a_broken_upload_is_taken_again_between_others(resources, caller, transfer):
    async def story():
        first = await deposit(resources, caller, transfer, b"0")
        begun, waits = asyncio.Event(), asyncio.Event()

        async def stalls():
            begun.set()
            yield b"1"
            await waits.wait()
            raise Broken

        broken = asyncio.create_task(deposit(resources, caller, transfer, stalls()))
        await begun.wait()
        third = await deposit(resources, caller, transfer, b"2")
        waits.set()
        with pytest.raises(Broken):
            await broken
        again = await deposit(resources, caller, transfer, b"3")
        return [first.number, third.number, again.number]

    assert run(story()) == [0, 2, 1]


def test_a_client_that_goes_away_leaves_nothing(resources, caller, transfer):
    """Lesson 9: the server cancels the request's task."""
    arrived = asyncio.Event()

    async def stalls():
        yield b"x" * 2_000_000
        arrived.set()
        await asyncio.sleep(60)

    async def story():
        upload = asyncio.create_task(deposit(resources, caller, transfer, stalls()))
        await arrived.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload

    run(story())
    assert_nothing_left(resources, transfer.id)


async def cancelled_at_the_last_step(deposit, monkeypatch, *, again=False):
    """Cancel an upload before the thread that makes its file live does so. `again`: as at the end of the event loop,
    when nobody waits for the thread any more; then it goes on between the removal of the bytes and of the row.
    """
    entered, go_on, tried = threading.Event(), threading.Event(), threading.Event()
    delete = LocalDisk.delete

    def wait():
        entered.set()
        go_on.wait(5)

    def note(_connection, _cursor, statement, *_more):
        if statement.startswith("UPDATE files SET"):
            tried.set()

    async def delete_and_let_go_on(self, blob_ids, *, force=False):
        failures = await delete(self, blob_ids, force=force)
        sql_events.listen(Engine, "after_cursor_execute", note)
        go_on.set()
        tried_in_time = await asyncio.to_thread(tried.wait, 5)
        sql_events.remove(Engine, "after_cursor_execute", note)
        assert tried_in_time
        return failures

    monkeypatch.setattr(LocalDisk, "delete", delete_and_let_go_on)
    with on_reach("deposit.blob_committed", wait):
        upload = asyncio.create_task(deposit)
        await asyncio.to_thread(entered.wait, 5)
        upload.cancel()
        await asyncio.sleep(0.02)
        if again:
            upload.cancel()
        else:
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await upload


def test_a_server_that_stops_during_the_last_step_keeps_a_file_that_went_live(resources, caller, transfer, monkeypatch):
    """The thread cannot be stopped: what it committed stands, and its bytes with it."""
    run(cancelled_at_the_last_step(deposit(resources, caller, transfer), monkeypatch))
    (file,) = files_of(resources, transfer.id)
    assert (file.state, blobs_held(resources)) == (FileState.LIVE, {file.blob_id})
    assert run(fetch(resources, run(claim(resources, run(issue(resources, caller, transfer)))))) == CONTENT


def test_an_upload_that_was_undone_cannot_go_live_any_more(resources, caller, transfer, monkeypatch):
    """Nobody waits for its thread after the second time: then bytes and row go, and the thread finds neither."""
    run(cancelled_at_the_last_step(deposit(resources, caller, transfer), monkeypatch, again=True))
    assert_nothing_left(resources, transfer.id)


def test_bytes_that_resist_keep_their_row_so_that_the_sweeper_finds_them(
    resources, caller, transfer, time, monkeypatch
):
    """Lesson 4: no orphan without a trace; the row goes when the bytes are seen to be gone."""

    async def refuse(self, blob_ids, *, force=False):
        return {blob_id: BlobUnavailable("I/O error") for blob_id in blob_ids}

    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "delete", refuse)
        with pytest.raises(Broken):
            run(deposit(resources, caller, transfer, breaks_off(b"x")))
    assert [file.state for file in files_of(resources, transfer.id)] == [FileState.RECEIVING]
    time.pass_by(module.LEASE)
    run(sweeping.sweep(resources))
    assert_nothing_left(resources, transfer.id)


# What ends while it runs


def test_the_expiry_cuts_an_upload_that_sends(resources, caller, transfer, time):
    """docs/deletion.md: deposits still running at the expiry are cut, before the next piece is stored."""
    after = []

    async def sends():
        yield b"x" * 100_000
        time.pass_until(transfer.expires_at)
        yield b"x" * chunked.PIECE_CHUNKS * chunked.CHUNK_BYTES
        after.append(1)
        yield b"x"

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, sends()))
    assert after == []
    assert_nothing_left(resources, transfer.id)


def test_an_upload_whose_last_bytes_come_at_the_expiry_does_not_count(resources, caller, short_lived, time):
    async def sends():
        yield b"x" * 100_000
        time.pass_until(short_lived.expires_at)
        yield b"x"

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, short_lived, sends()))
    assert_nothing_left(resources, short_lived.id)


def test_the_expiry_cuts_an_upload_that_waits(resources, caller, short_lived, time, quick_watch):
    """A slow client never comes back to look at the clock."""

    async def stalls():
        yield b"x"
        time.pass_until(short_lived.expires_at)
        await asyncio.sleep(30)

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, short_lived, stalls()))
    assert_nothing_left(resources, short_lived.id)


def test_a_deletion_cuts_an_upload_that_waits(resources, caller, transfer, quick_watch):
    async def stalls():
        yield b"x"
        delete_transfer(resources, transfer.id, caller=caller)
        await asyncio.sleep(30)

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, stalls()))
    assert_nothing_left(resources, transfer.id)
    assert keys_held(resources) == set()


@pytest.mark.parametrize("ends_by", ["deletion", "expiry"])
def test_what_ended_before_the_last_step_does_not_count(resources, caller, short_lived, time, ends_by):
    """The whole body is there, and durable: too late all the same."""

    async def ends():
        yield CONTENT
        if ends_by == "deletion":
            delete_transfer(resources, short_lived.id, caller=caller)
        else:
            time.pass_until(short_lived.expires_at)

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, short_lived, ends()))
    assert_nothing_left(resources, short_lived.id)


def stop_intake(resources, time, refusal):
    """Something happens for which the service takes nothing in any more."""
    if refusal is LockedDown:
        lock_down(resources.database, resources.clock)
    elif refusal is ClockNotTrusted:
        time.leap(timedelta(hours=2))
    else:
        time.pass_by(resources.settings.deadman + timedelta(seconds=1))  # and no sweep


REFUSALS = [LockedDown, ClockNotTrusted, RetentionNotAssured]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_comes_to_its_end_while_nothing_is_taken_does_not_count(resources, caller, transfer, time, refusal):
    """Between the last check, up to a second ago, and the last step."""

    async def ends():
        yield CONTENT
        stop_intake(resources, time, refusal)

    with pytest.raises(refusal):
        run(deposit(resources, caller, transfer, ends()))
    assert_nothing_left(resources, transfer.id)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_nothing_more_of_a_running_upload_is_taken(resources, caller, transfer, time, quick_watch, refusal):
    """A switch that refused new deposits alone would let an upload of hours go on."""

    async def stalls():
        yield CONTENT
        stop_intake(resources, time, refusal)
        await asyncio.sleep(30)

    with pytest.raises(refusal):
        run(deposit(resources, caller, transfer, stalls()))
    assert_nothing_left(resources, transfer.id)


def test_a_transfer_that_lost_its_only_upload_so_can_be_filled_later(resources, caller, transfer, time):
    async def ends():
        yield CONTENT
        lock_down(resources.database, resources.clock)

    with pytest.raises(LockedDown):
        run(deposit(resources, caller, transfer, ends()))
    lift_lockdown(resources.database, resources.clock)
    assert transfer_row(resources, transfer.id).state == TransferState.RECEIVING
    assert run(deposit(resources, caller, transfer)).number == 0


def test_an_upload_whose_row_was_taken_away_stops(resources, caller, transfer, quick_watch):
    """Another sweeper thought it dead: then it is, and none of its bytes count."""

    async def stalls():
        yield b"x"
        with resources.database.writing() as transaction:
            transaction.connection.execute(files.delete())
        await asyncio.sleep(30)

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, stalls()))
    assert_nothing_left(resources, transfer.id)


def test_a_file_whose_row_was_taken_away_at_the_very_end_does_not_count(resources, caller, transfer):
    """Its bytes are durable already: they go again."""

    async def ends():
        yield CONTENT
        with resources.database.writing() as transaction:
            transaction.connection.execute(files.delete())

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, ends()))
    assert_nothing_left(resources, transfer.id)


def test_a_client_that_says_nothing_for_too_long_is_cut(start_service, caller, transfer, quick_watch):
    """Lesson 29: slow clients are cut."""
    impatient = start_service(idle_timeout=timedelta(milliseconds=60))

    async def falls_silent():
        yield b"x"
        await asyncio.sleep(30)

    with pytest.raises(ClientTooSlow):
        run(deposit(impatient, caller, transfer, falls_silent()))
    assert_nothing_left(impatient, transfer.id)


def test_a_client_that_is_slow_but_alive_is_not_cut(start_service, caller, transfer, quick_watch):
    patient = start_service(idle_timeout=timedelta(milliseconds=500))

    async def trickles():
        for _ in range(20):
            await asyncio.sleep(0.05)
            yield b"x"

    assert run(deposit(patient, caller, transfer, trickles())).size == 20


def test_a_running_upload_renews_its_lease_and_outlives_sweeps(resources, caller, transfer, time, quick_watch):
    async def lasts():
        for _ in range(5):
            yield b"x"
            time.pass_by(module.LEASE / 2 + timedelta(seconds=1))
            await asyncio.sleep(0.3)
            await sweeping.sweep(resources)

    assert run(deposit(resources, caller, transfer, lasts())).size == 5
    assert count_rows(resources, files) == 1
    assert events_of(resources, event="upload.abandoned") == []


def test_an_upload_that_missed_its_lease_is_left_alone_while_it_holds_its_blob(resources, caller, transfer, time):
    """The sweeper asks the disk, not only the clock: a slow database must not cost a deposit."""

    async def lasts():
        yield b"x" * 2_000_000
        time.pass_by(10 * module.LEASE)
        await sweeping.sweep(resources)
        yield b"x"

    assert run(deposit(resources, caller, transfer, lasts())).size == 2_000_001
    assert events_of(resources, event="upload.abandoned") == []
