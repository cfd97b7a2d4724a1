"""Depositing: what goes in comes out, nothing of it lies in clear, and whatever breaks off leaves nothing."""

import asyncio
import random
import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy import event as sql_events

from app.actions import sweep as sweeping
from app.actions.create_transfer import CreatedTransfer
from app.actions.delete_transfer import delete_transfer
from app.actions.lock_down import lift_lockdown, lock_down
from app.crypto import chunked
from app.crypto.token import new_id, new_secret
from app.db.tables import files, transfers
from app.domain.access_token import Role
from app.domain.errors import (
    BlobsOutOfReach,
    ClientTooSlow,
    ClockNotTrusted,
    DiskNearlyFull,
    InvalidFileName,
    LockedDown,
    RetentionNotAssured,
    TooLarge,
    TransferClosed,
    TransferEnded,
    TransferIsSealed,
    TransferNotFound,
    VaultOutOfReach,
    WrongClientKey,
)
from app.domain.transfer import FileState, TransferState
from app.lifecycle import intake as module
from app.runtime import stream_watch
from app.runtime.fault_points import on_reach
from app.storage.errors import BlobUnavailable
from app.storage.local_disk import LocalDisk
from tests.integration.actions.stories import (
    CONTENT,
    NAME,
    a_caller,
    a_transfer,
    blob_path,
    blobs_held,
    body,
    change,
    claim,
    count_rows,
    deposit,
    events_of,
    everything_stored,
    fetch,
    files_of,
    issue,
    keys_held,
    log_of,
    out_of_reach,
    run,
    send,
    transfer_row,
)


@pytest.fixture
def transfer(resources, caller):
    return a_transfer(resources, caller)


@pytest.fixture
def short_lived(resources, caller):
    """It expires before the dead-man's switch falls: no sweep runs here."""
    return a_transfer(resources, caller, lifetime=resources.settings.deadman - timedelta(minutes=1))


@pytest.fixture
def quick_watch(monkeypatch):
    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.02)


def assert_nothing_left(resources, transfer):
    assert blobs_held(resources) == set()
    assert files_of(resources, transfer.id) == []
    assert events_of(resources, event="file.deposited") == []


class Broken(Exception):
    pass


async def breaks_off(*pieces):
    for piece in pieces:
        yield piece
    raise Broken


# What goes in comes out


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 5 * 1024 * 1024, 1024 * 1024 + 7])
def test_a_file_comes_back_as_it_went_in(resources, caller, transfer, size):
    content = random.Random(size).randbytes(size)
    pieces = [content[at : at + 70_001] for at in range(0, size, 70_001)]

    async def story():
        deposited = await deposit(resources, caller, transfer, body(b"", *pieces, b""))
        claimed = await claim(resources, await issue(resources, caller, transfer))
        return deposited, claimed, await fetch(resources, claimed)

    deposited, claimed, received = run(story())
    assert (deposited.number, deposited.size) == (0, size)
    assert (claimed.files[0].size, claimed.files[0].sealed_size) == (size, chunked.sealed_size(size))
    assert received == content
    (file,) = files_of(resources, transfer.id)
    assert blob_path(resources, file.blob_id).stat().st_size == chunked.sealed_size(size)


def test_a_deposit_makes_the_transfer_live_and_is_logged_without_its_name(resources, caller, transfer):
    assert transfer_row(resources, transfer.id).state == TransferState.RECEIVING
    run(deposit(resources, caller, transfer))
    row, (file,) = transfer_row(resources, transfer.id), files_of(resources, transfer.id)
    assert (row.state, row.due_at, row.closed_at) == (TransferState.LIVE, row.expires_at, None)
    assert (file.state, file.lease_until, file.size) == (FileState.LIVE, None, len(CONTENT))
    (entry,) = log_of(resources, event="file.deposited")
    del entry["salt"], entry["sequence"], entry["time"]
    assert entry == {
        "event": "file.deposited",
        "actor": caller.actor,
        "transfer": transfer.id,
        "file": 0,
        "size": len(CONTENT),
        "blob": file.blob_id,
    }


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_neither_content_nor_name_nor_any_key_is_stored_in_clear(resources, caller):
    """Lessons 28 and 34: a file name is patient data too."""
    needle = b"DUPONT Marie 2 85 05 78 006 084 36"
    client_key = new_secret()
    transfer = a_transfer(resources, caller)

    async def story():
        await deposit(resources, caller, transfer, needle * 5_000, name="DUPONT_HIV.csv", media_type="text/x-dupont")
        return await issue(resources, caller, transfer, "somebody")

    share = run(story())
    stored = everything_stored(resources)
    assert len(stored) > len(needle) * 5_000
    for secret in (needle, b"DUPONT_HIV", b"x-dupont", transfer.client_key, share.link_secret, client_key):
        assert secret not in stored
    assert share.password.encode() not in stored
    assert share.password.replace("-", "").encode() not in stored


@pytest.mark.parametrize(
    ("name", "media_type", "shown"),
    [
        (NAME, "text/csv", "text/csv"),
        ("\u691c\u67fb \u0646\u062a\u064a\u062c\u0629.pdf", None, "application/octet-stream"),
        ("$(reboot) {{7*7}} ' OR 1=1 --.html", "text/html; charset=x", "text/html"),
        ("x" * 255, "not a type", "application/octet-stream"),
    ],
)
def test_names_come_back_as_they_were_given(resources, caller, transfer, name, media_type, shown):
    """Lesson 26: no string of a user's becomes a path; the blob's place is a function of its random id."""

    async def story():
        await deposit(resources, caller, transfer, name=name, media_type=media_type)
        return await claim(resources, await issue(resources, caller, transfer))

    meta = run(story()).files[0].meta
    assert meta is not None
    assert (meta.name, meta.media_type) == (name, shown)
    assert all(path.name != name for path in resources.settings.data_dir.rglob("*"))


def test_a_name_that_no_file_may_have_is_refused_before_anything_is_touched(resources, caller, transfer):
    with pytest.raises(InvalidFileName):
        run(deposit(resources, caller, transfer, name="../../etc/passwd"))
    assert_nothing_left(resources, transfer)


def test_files_are_numbered_from_zero(resources, caller, transfer):
    async def story():
        return [(await deposit(resources, caller, transfer, bytes([each]))).number for each in range(3)]

    assert run(story()) == [0, 1, 2]


def test_uploads_at_once_get_numbers_and_blobs_of_their_own(resources, caller, transfer):
    contents = [bytes([each]) * 100_000 for each in range(4)]
    together = asyncio.Barrier(len(contents))

    async def slowly(content):
        yield content[:1000]
        await together.wait()
        yield content[1000:]

    async def story():
        deposits = [deposit(resources, caller, transfer, slowly(content)) for content in contents]
        deposited = await asyncio.gather(*deposits)
        claimed = await claim(resources, await issue(resources, caller, transfer))
        return deposited, [await fetch(resources, claimed, each.number) for each in deposited]

    deposited, received = run(story())
    assert sorted(each.number for each in deposited) == [0, 1, 2, 3]
    assert received == contents
    assert len(blobs_held(resources)) == 4


def test_the_same_content_never_makes_the_same_blob(resources, caller, transfer):
    async def story():
        for _ in range(2):
            await deposit(resources, caller, transfer, b"\0" * 20_000)

    run(story())
    first, second = (blob_path(resources, file.blob_id).read_bytes() for file in files_of(resources, transfer.id))
    assert not {first[at : at + 16] for at in range(len(first) - 15)} & {
        second[at : at + 16] for at in range(0, len(second) - 15, 16)
    }


# Whatever breaks off leaves nothing


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x" * 3_000_000]])
def test_a_body_that_breaks_off_leaves_nothing_and_its_number_is_taken_again(resources, caller, transfer, pieces):
    """Lesson 9: no partial upload survives an abort."""
    with pytest.raises(Broken):
        run(deposit(resources, caller, transfer, breaks_off(*pieces)))
    assert_nothing_left(resources, transfer)
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
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(resources, transfer)


# Limits


def test_more_than_the_limit_is_refused_while_it_comes(start_service, resources, caller, transfer):
    """Lesson 29: the sum of pieces obeys the limit, whatever was announced."""
    small = start_service(max_transfer_bytes=100_000)
    came = []

    async def endless():
        while True:
            came.append(1)
            yield b"x" * 1000

    with pytest.raises(TooLarge) as refused:
        run(deposit(small, caller, transfer, endless(), announced_size=5))
    assert refused.value.members == {"max_bytes": 100_000}
    assert len(came) == 101
    assert_nothing_left(resources, transfer)


def test_exactly_the_limit_is_taken_in(start_service, caller, transfer):
    small = start_service(max_transfer_bytes=100_000)
    assert run(deposit(small, caller, transfer, b"x" * 100_000, announced_size=100_000)).size == 100_000


def test_an_announced_size_above_the_limit_is_refused_before_the_first_byte(start_service, caller, transfer):
    small = start_service(max_transfer_bytes=100_000)

    read = []

    async def watched_body():
        read.append(1)
        yield b""

    with pytest.raises(TooLarge):
        run(deposit(small, caller, transfer, watched_body(), announced_size=100_001))
    assert read == []
    assert_nothing_left(small, transfer)


def test_the_limit_is_of_the_transfer_and_not_of_each_file(start_service, caller, transfer):
    """Lesson 29 (Gokapi CVE-2026-30961)."""
    small = start_service(max_transfer_bytes=100_000)

    async def story():
        await deposit(small, caller, transfer, b"x" * 60_000)
        with pytest.raises(TooLarge):
            await deposit(small, caller, transfer, b"x" * 40_001)
        with pytest.raises(TooLarge):
            await deposit(small, caller, transfer, b"x", announced_size=40_001)
        return await deposit(small, caller, transfer, b"x" * 40_000)

    assert run(story()).size == 40_000


def test_two_uploads_at_once_do_not_pass_the_limit_together(start_service, caller, transfer):
    """Lesson 29: both were admitted with room enough; the second to finish is refused."""
    small = start_service(max_transfer_bytes=100_000)
    together = asyncio.Barrier(2)

    async def slowly():
        yield b"x" * 60_000
        await together.wait()

    async def story():
        uploads = [deposit(small, caller, transfer, slowly()) for _ in range(2)]
        return await asyncio.gather(*uploads, return_exceptions=True)

    answers = run(story())
    assert sorted(type(answer).__name__ for answer in answers) == ["DepositedFile", "TooLarge"]
    assert len(blobs_held(small)) == len(files_of(small, transfer.id)) == 1


def test_a_disk_that_is_nearly_full_takes_nothing(start_service, resources, caller, transfer):
    full = start_service(min_free_bytes=10**18)
    with pytest.raises(DiskNearlyFull):
        run(deposit(full, caller, transfer))
    assert_nothing_left(resources, transfer)


def test_a_disk_that_fills_up_on_the_way_takes_nothing(resources, caller, transfer, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.storage.durable_files.write_all", full)
    with pytest.raises(DiskNearlyFull):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer)


def test_without_the_blob_store_nothing_is_taken(resources, caller, transfer):
    with out_of_reach(resources.settings.blobs_dir), pytest.raises(BlobsOutOfReach):
        run(deposit(resources, caller, transfer))
    assert blobs_held(resources) == set()


# Who may, and when


def test_only_its_depositor_adds_to_a_transfer(resources, transfer):
    """Lesson 30: another's transfer and none at all are one and the same."""
    for role in Role:
        with pytest.raises(TransferNotFound):
            run(deposit(resources, a_caller(resources, role=role), transfer))
    assert_nothing_left(resources, transfer)


@pytest.mark.parametrize("transfer_id", ["A" * 22, "", "\0" * 22, "../.."])
def test_a_transfer_that_is_not_there_takes_no_file(resources, caller, transfer_id):
    with pytest.raises(TransferNotFound):
        run(deposit(resources, caller, CreatedTransfer(transfer_id, new_secret(), None)))  # type: ignore[arg-type]


def test_a_wrong_client_key_opens_nothing(resources, caller, transfer):
    """G4: not even for the right depositor."""
    wrong = CreatedTransfer(transfer.id, new_secret(), transfer.expires_at)
    with pytest.raises(WrongClientKey):
        run(deposit(resources, caller, wrong))
    assert_nothing_left(resources, transfer)


def test_a_transfer_that_was_shared_takes_no_more_files(resources, caller):
    sent = send(resources, caller)
    with pytest.raises(TransferClosed):
        run(deposit(resources, caller, sent.transfer))
    assert len(files_of(resources, sent.id)) == 1


def test_a_sealed_transfer_takes_no_plaintext(resources, caller, transfer):
    change(resources, transfers, transfer.id, sealed=True)
    with pytest.raises(TransferIsSealed):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer)


def test_a_transfer_that_was_deleted_takes_no_files(resources, caller, transfer):
    delete_transfer(resources, transfer.id, caller=caller)
    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer))


def test_a_transfer_takes_no_file_from_the_first_instant_of_its_expiry(resources, caller, transfer, time):
    """Lesson 1: no sweep has passed."""
    time.pass_until(transfer.expires_at)
    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer)


def test_nothing_is_taken_in_when_nobody_deletes(resources, caller, transfer, time):
    """Lesson 1, G1: the dead-man's switch."""
    time.pass_by(resources.settings.deadman)
    assert run(deposit(resources, caller, transfer)).number == 0
    time.pass_by(timedelta.resolution)
    with pytest.raises(RetentionNotAssured):
        run(deposit(resources, caller, transfer))


def test_without_the_key_vault_nothing_is_taken(resources, caller, transfer):
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultOutOfReach):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer)
    assert run(deposit(resources, caller, transfer)).number == 0


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
    assert_nothing_left(resources, transfer)


def test_an_upload_whose_last_bytes_come_at_the_expiry_does_not_count(resources, caller, short_lived, time):
    async def sends():
        yield b"x" * 100_000
        time.pass_until(short_lived.expires_at)
        yield b"x"

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, short_lived, sends()))
    assert_nothing_left(resources, short_lived)


def test_the_expiry_cuts_an_upload_that_waits(resources, caller, short_lived, time, quick_watch):
    """A slow client never comes back to look at the clock."""

    async def stalls():
        yield b"x"
        time.pass_until(short_lived.expires_at)
        await asyncio.sleep(30)

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, short_lived, stalls()))
    assert_nothing_left(resources, short_lived)


def test_a_deletion_cuts_an_upload_that_waits(resources, caller, transfer, quick_watch):
    async def stalls():
        yield b"x"
        delete_transfer(resources, transfer.id, caller=caller)
        await asyncio.sleep(30)

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, stalls()))
    assert_nothing_left(resources, transfer)
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
    assert_nothing_left(resources, short_lived)


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
    assert_nothing_left(resources, transfer)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_nothing_more_of_a_running_upload_is_taken(resources, caller, transfer, time, quick_watch, refusal):
    """A switch that refused new deposits alone would let an upload of hours go on."""

    async def stalls():
        yield CONTENT
        stop_intake(resources, time, refusal)
        await asyncio.sleep(30)

    with pytest.raises(refusal):
        run(deposit(resources, caller, transfer, stalls()))
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(resources, transfer)


def test_a_file_whose_row_was_taken_away_at_the_very_end_does_not_count(resources, caller, transfer):
    """Its bytes are durable already: they go again."""

    async def ends():
        yield CONTENT
        with resources.database.writing() as transaction:
            transaction.connection.execute(files.delete())

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, ends()))
    assert_nothing_left(resources, transfer)


def test_a_client_that_says_nothing_for_too_long_is_cut(start_service, caller, transfer, quick_watch):
    """Lesson 29: slow clients are cut."""
    impatient = start_service(idle_timeout=timedelta(milliseconds=60))

    async def falls_silent():
        yield b"x"
        await asyncio.sleep(30)

    with pytest.raises(ClientTooSlow):
        run(deposit(impatient, caller, transfer, falls_silent()))
    assert_nothing_left(impatient, transfer)


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


def test_another_transfers_id_is_bound_into_every_blob(resources, caller):
    """Lesson 33: a blob put in another's place does not open."""
    sent, other = send(resources, caller, content=b"one"), send(resources, caller, content=b"two")
    blobs = [blob_path(resources, files_of(resources, each.id)[0].blob_id) for each in (sent, other)]
    blobs[1].write_bytes(blobs[0].read_bytes())

    async def story():
        return await fetch(resources, await claim(resources, other.share))

    with pytest.raises(Exception, match="cannot decrypt"):
        run(story())


def test_an_id_is_never_a_secret_and_never_guessable():
    assert len({new_id() for _ in range(100)}) == 100
