"""Depositing: what goes in comes out, nothing of it lies in clear, and limits hold."""

import asyncio
import random
from datetime import timedelta

import pytest

from app.actions.create_transfer import CreatedTransfer
from app.actions.delete_transfer import delete_transfer
from app.crypto import chunked
from app.crypto.token import new_id, new_secret
from app.db.tables import transfers
from app.domain.access_token import Role
from app.domain.errors import (
    BlobsOutOfReach,
    DiskNearlyFull,
    InvalidFileName,
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
from tests.integration.actions.stories import (
    CONTENT,
    NAME,
    a_caller,
    a_transfer,
    assert_nothing_left,
    blob_path,
    blobs_held,
    body,
    change,
    claim,
    deposit,
    everything_stored,
    fetch,
    files_of,
    issue,
    log_of,
    out_of_reach,
    run,
    send,
    transfer_row,
)

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
    assert_nothing_left(resources, transfer.id)


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
    assert_nothing_left(resources, transfer.id)


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
    assert_nothing_left(small, transfer.id)


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
    assert_nothing_left(resources, transfer.id)


def test_a_disk_that_fills_up_on_the_way_takes_nothing(resources, caller, transfer, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.storage.durable_files.write_all", full)
    with pytest.raises(DiskNearlyFull):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer.id)


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
    assert_nothing_left(resources, transfer.id)


@pytest.mark.parametrize("transfer_id", ["A" * 22, "", "\0" * 22, "../.."])
def test_a_transfer_that_is_not_there_takes_no_file(resources, caller, transfer_id):
    with pytest.raises(TransferNotFound):
        run(deposit(resources, caller, CreatedTransfer(transfer_id, new_secret(), None)))  # type: ignore[arg-type]


def test_a_wrong_client_key_opens_nothing(resources, caller, transfer):
    """G4: not even for the right depositor."""
    wrong = CreatedTransfer(transfer.id, new_secret(), transfer.expires_at)
    with pytest.raises(WrongClientKey):
        run(deposit(resources, caller, wrong))
    assert_nothing_left(resources, transfer.id)


def test_a_transfer_that_was_shared_takes_no_more_files(resources, caller):
    sent = send(resources, caller)
    with pytest.raises(TransferClosed):
        run(deposit(resources, caller, sent.transfer))
    assert len(files_of(resources, sent.id)) == 1


def test_a_sealed_transfer_takes_no_plaintext(resources, caller, transfer):
    change(resources, transfers, transfer.id, sealed=True)
    with pytest.raises(TransferIsSealed):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer.id)


def test_a_transfer_that_was_deleted_takes_no_files(resources, caller, transfer):
    delete_transfer(resources, transfer.id, caller=caller)
    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer))


def test_a_transfer_takes_no_file_from_the_first_instant_of_its_expiry(resources, caller, transfer, time):
    """Lesson 1: no sweep has passed."""
    time.pass_until(transfer.expires_at)
    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer))
    assert_nothing_left(resources, transfer.id)


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
    assert_nothing_left(resources, transfer.id)
    assert run(deposit(resources, caller, transfer)).number == 0
