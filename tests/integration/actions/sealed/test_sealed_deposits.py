"""Deposits of sealed files: their numbers and shapes, under the same guards as plain ones."""

import asyncio
import tracemalloc
from datetime import timedelta

import pytest

from app.actions.delete_transfer import delete_transfer
from app.actions.keep_owner_key import show_owner_key, store_owner_key
from app.actions.lock_down import lock_down
from app.actions.revoke_access_token import revoke_access_token
from app.client import sealing
from app.crypto.chunked import sealed_size
from app.domain.errors import (
    ClientTooSlow,
    DiskNearlyFull,
    InvalidRequest,
    LockedDown,
    MalformedCiphertext,
    NotAuthenticated,
    RetentionNotAssured,
    TooLarge,
    TransferClosed,
    TransferEnded,
    UploadUnfinished,
    WrongFileNumber,
)
from app.domain.file_meta import MAX_JSON_BYTES, FileMeta
from app.lifecycle import intake
from tests.integration.actions.sealed_stories import (
    a_sealed_transfer,
    ciphertext,
    claim_sealed,
    deposit_sealed,
    let_claim,
    owner_wrap,
    prepare,
)
from tests.integration.actions.stories import (
    CONTENT,
    NAME,
    abandon_upload,
    assert_nothing_left,
    blobs_held,
    events_of,
    files_of,
    run,
    sweep,
)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


# Numbers


def test_files_are_numbered_from_0_without_a_gap_each_once(resources, caller, transfer):
    async def story():
        for number, expected in ((1, 0), (-1, 0), (10**30, 0)):
            with pytest.raises(WrongFileNumber) as refused:
                await deposit_sealed(resources, caller, transfer, ciphertext(transfer), number=number, sealed_meta=meta)
            assert refused.value.members == {"next_number": expected}
        await deposit_sealed(resources, caller, transfer)
        for number in (0, 2):
            with pytest.raises(WrongFileNumber) as refused:
                await deposit_sealed(resources, caller, transfer, number=number)
            assert refused.value.members == {"next_number": 1}
        await deposit_sealed(resources, caller, transfer, number=1)

    meta = sealing.seal_meta(transfer.key, transfer.id, 0, FileMeta(NAME, "text/csv"))
    run(story())
    assert [file.number for file in files_of(resources, transfer.id)] == [0, 1]
    assert len(blobs_held(resources)) == 2


def test_of_two_uploads_of_one_number_at_once_one_is_taken(resources, caller, transfer):
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(sealed):
        yield sealed[:100]
        started.set()
        await go_on.wait()
        yield sealed[100:]

    async def story():
        first = asyncio.create_task(deposit_sealed(resources, caller, transfer, slowly(ciphertext(transfer))))
        await started.wait()
        with pytest.raises(WrongFileNumber):
            await deposit_sealed(resources, caller, transfer)
        with pytest.raises(UploadUnfinished):
            await prepare(resources, caller, transfer)
        go_on.set()
        return await first

    assert run(story()) == len(CONTENT)


def test_a_gap_that_a_broken_upload_left_must_be_filled_before_sharing(resources, caller, transfer):
    started, go_on = asyncio.Event(), asyncio.Event()

    async def breaks():
        yield b"x" * 100
        started.set()
        await go_on.wait()
        raise ConnectionError

    async def story():
        first = asyncio.create_task(deposit_sealed(resources, caller, transfer, breaks()))
        await started.wait()
        await deposit_sealed(resources, caller, transfer, number=1)
        go_on.set()
        with pytest.raises(ConnectionError):
            await first
        with pytest.raises(UploadUnfinished):
            await prepare(resources, caller, transfer)
        with pytest.raises(WrongFileNumber) as refused:
            await deposit_sealed(resources, caller, transfer, number=2)
        assert refused.value.members == {"next_number": 0}
        await deposit_sealed(resources, caller, transfer)
        return await prepare(resources, caller, transfer)

    assert run(story()).id
    assert [file.number for file in files_of(resources, transfer.id)] == [0, 1]


# Shapes


@pytest.mark.parametrize("length", [0, 1, 55, 56, 71, 56 + 16_400, 56 + 16_400 + 15, 56 + 3 * 16_400])
@pytest.mark.parametrize("announced", [True, False])
def test_what_no_sealed_file_can_be_is_refused_and_leaves_nothing(resources, caller, transfer, length, announced):
    """A file without its short last chunk is one that was cut."""
    came = []

    async def coming():
        came.append(1)
        yield bytes(length)

    with pytest.raises(MalformedCiphertext):
        run(deposit_sealed(resources, caller, transfer, coming(), announced_size=length if announced else None))
    assert bool(came) is not announced, "an announced length is judged before the first byte"
    assert_nothing_left(resources, transfer.id)


@pytest.mark.parametrize("length", [0, 1, 71, 72, 56 + 16_400, sealed_size(MAX_JSON_BYTES + 1), 60_000])
def test_a_sealed_name_of_the_wrong_length_is_refused(resources, caller, transfer, length):
    with pytest.raises(InvalidRequest):
        run(deposit_sealed(resources, caller, transfer, sealed_meta=bytes(length)))
    assert_nothing_left(resources, transfer.id)


def test_a_sealed_name_of_the_greatest_length_is_taken(resources, caller, transfer):
    run(deposit_sealed(resources, caller, transfer, sealed_meta=bytes(sealed_size(MAX_JSON_BYTES))))
    assert len(files_of(resources, transfer.id)[0].sealed_meta or b"") == sealed_size(MAX_JSON_BYTES)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_memory_does_not_grow_with_the_file(resources, caller, transfer):
    """48 MiB pass through in less memory than a few of the pieces take."""
    plain = 48 * 1024 * 1024
    whole, rest = divmod(sealed_size(plain), 65_536)

    async def coming():
        for _ in range(whole):
            yield bytes(65_536)
        yield bytes(rest)

    tracemalloc.start()
    size = run(deposit_sealed(resources, caller, transfer, coming(), sealed_meta=bytes(90)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == plain
    assert peak < 3 << 20, f"{peak} bytes"


# The same guards as for plain deposits


async def breaks_off(*pieces):
    for piece in pieces:
        yield piece
    raise ConnectionError


def test_an_upload_that_breaks_off_leaves_nothing_and_its_number_is_free_again(resources, caller, transfer):
    """Lesson 9."""
    with pytest.raises(ConnectionError):
        run(deposit_sealed(resources, caller, transfer, breaks_off(bytes(3_000_000))))
    assert_nothing_left(resources, transfer.id)
    assert run(deposit_sealed(resources, caller, transfer)) == len(CONTENT)


def test_a_killed_upload_is_removed_by_the_sweeper(resources, caller, transfer, time):
    abandon_upload(resources, caller, transfer.id, sealed=True)
    assert len(files_of(resources, transfer.id)) == 1
    time.pass_by(intake.LEASE)
    sweep(resources)
    assert_nothing_left(resources, transfer.id)
    assert events_of(resources, event="upload.abandoned") == ["upload.abandoned"]


def test_more_than_the_limit_is_refused_before_and_while_it_comes(start_service, caller, transfer):
    """Lesson 29. The limit is of plaintext, so that sealing costs no room."""
    small = start_service(max_transfer_bytes=100_000)

    async def endless():
        while True:
            yield bytes(1000)

    with pytest.raises(TooLarge):
        run(deposit_sealed(small, caller, transfer, endless()))
    with pytest.raises(TooLarge):
        run(deposit_sealed(small, caller, transfer, announced_size=sealed_size(100_001)))
    assert_nothing_left(small, transfer.id)
    whole = ciphertext(transfer, bytes(100_000))
    assert run(deposit_sealed(small, caller, transfer, whole, announced_size=len(whole))) == 100_000
    with pytest.raises(TooLarge):
        run(deposit_sealed(small, caller, transfer, ciphertext(transfer, b"x", 1), number=1))


def test_an_upload_is_cut_at_the_expiry(resources, caller, time):
    transfer = a_sealed_transfer(resources, caller, lifetime=HOUR)

    async def lasts():
        yield bytes(20_000)
        time.pass_by(HOUR)
        yield bytes(20_000)

    with pytest.raises(TransferEnded):
        run(deposit_sealed(resources, caller, transfer, lasts()))
    assert_nothing_left(resources, transfer.id)


@pytest.mark.parametrize("what", ["deleted", "locked down", "not swept", "token revoked", "silent"])
def test_a_running_upload_is_cut_by_the_watch(resources, start_service, caller, transfer, time, quick_watch, what):
    steps = {
        "not swept": (lambda: time.pass_by(resources.settings.deadman + MINUTE), RetentionNotAssured),
        "deleted": (lambda: delete_transfer(resources, transfer.id, caller=caller), TransferEnded),
        "locked down": (lambda: lock_down(resources.database, resources.clock), LockedDown),
        "token revoked": (
            lambda: revoke_access_token(resources.database, resources.clock, caller.token_id),
            NotAuthenticated,
        ),
        "silent": (lambda: None, ClientTooSlow),
    }
    step, refusal = steps[what]
    receiving = start_service(idle_timeout=timedelta(seconds=0.2)) if what == "silent" else resources

    async def stalls():
        yield bytes(100)
        step()
        await asyncio.sleep(30)

    with pytest.raises(refusal):
        run(deposit_sealed(receiving, caller, transfer, stalls()))
    assert_nothing_left(resources, transfer.id)


@pytest.mark.parametrize("refusal", [LockedDown, RetentionNotAssured])
def test_what_comes_to_its_end_while_nothing_is_taken_does_not_count(resources, caller, transfer, time, refusal):
    """Between the last check, up to a second ago, and the last step."""

    async def ends():
        yield bytes(100)
        if refusal is LockedDown:
            lock_down(resources.database, resources.clock)
        else:
            time.pass_by(resources.settings.deadman + MINUTE)

    with pytest.raises(refusal):
        run(deposit_sealed(resources, caller, transfer, ends()))
    assert_nothing_left(resources, transfer.id)


def test_nothing_is_taken_in_while_deletion_is_not_assured(resources, caller, transfer, time):
    """The dead-man's switch guards every way in."""
    time.pass_by(resources.settings.deadman + timedelta(seconds=1))
    for step in (
        lambda: a_sealed_transfer(resources, caller),
        lambda: run(deposit_sealed(resources, caller, transfer)),
        lambda: store_owner_key(resources, caller, transfer.id, owner_wrap(transfer)),
    ):
        with pytest.raises(RetentionNotAssured):
            step()


def test_a_full_disk_is_said_and_leaves_nothing(start_service, caller, transfer):
    full = start_service(min_free_bytes=1 << 60)
    with pytest.raises(DiskNearlyFull):
        run(deposit_sealed(full, caller, transfer))
    assert_nothing_left(full, transfer.id)


def test_a_lockdown_stops_every_way_in_and_out(resources, caller, filled, share):
    waiting = run(prepare(resources, caller, filled))
    lock_down(resources.database, resources.clock)
    for step in (
        lambda: a_sealed_transfer(resources, caller),
        lambda: run(deposit_sealed(resources, caller, filled, number=1)),
        lambda: show_owner_key(resources, caller, filled.id),
        lambda: store_owner_key(resources, caller, filled.id, owner_wrap(filled)),
        lambda: run(prepare(resources, caller, filled)),
        lambda: let_claim(resources, caller, waiting),
        lambda: run(claim_sealed(resources, share)),
    ):
        with pytest.raises((LockedDown, TransferClosed)) as refused:
            step()
        assert isinstance(refused.value, LockedDown)
