"""Resumable uploads: whatever breaks off, the file that arrives is the one that was sent, and no nonce serves twice."""

import base64
import hashlib
import os
import random
from datetime import timedelta

import pytest

from app.actions.create_upload import NewUpload, create_upload
from app.actions.delete_transfer import delete_transfer
from app.actions.end_upload import end_upload
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.receive_part import receive_part
from app.actions.show_upload import show_upload
from app.crypto.chunked.cipher import MessageCipher
from app.crypto.token import new_id
from app.db import upload_rows
from app.db.tables import uploads
from app.domain import upload as rules
from app.domain.errors import (
    BlobsOutOfReach,
    BodyIncomplete,
    ChecksumMismatch,
    InvalidRequest,
    LockedDown,
    TooLarge,
    TransferClosed,
    TransferEnded,
    UploadInProgress,
    UploadNotFound,
    UploadUnfinished,
    WrongClientKey,
    WrongFileNumber,
    WrongOffset,
)
from app.domain.file_meta import FileMeta
from app.domain.upload import Checksum
from app.lifecycle.upload_parts import PartRequest
from app.runtime.fault_points import on_reach
from tests.integration.actions.stories import (
    a_caller,
    blobs_held,
    change,
    claim,
    count_rows,
    everything_stored,
    fetch,
    files_of,
    issue,
    out_of_reach,
    run,
    send,
    sweep,
    transfer_row,
)
from tests.marks import first

META = FileMeta.checked("CANARI-DUPONT.csv", "text/csv")
LENGTH = 3_000_017
LEASE_IS_OVER = timedelta(seconds=21)


class Died(BaseException):
    """The process is gone: nothing that comes after this in its request happens."""


@pytest.fixture
def nonces(monkeypatch):
    """Every (salt, chunk number) that is encrypted; a second use of one fails the test at once."""
    used, seal = set(), MessageCipher.seal

    def seal_once(cipher, first, count, plain, sealed):
        for number in range(first, first + count):
            assert (cipher.header, number) not in used, "a nonce was used twice"
            used.add((cipher.header, number))
        seal(cipher, first, count, plain, sealed)

    monkeypatch.setattr(MessageCipher, "seal", seal_once)
    return used


@pytest.fixture
def content():
    return random.Random(7).randbytes(LENGTH)


def announce(resources, caller, transfer, length=LENGTH, *, number=None, meta=META):
    new = NewUpload(transfer.id, length, meta, number)
    return create_upload(resources, caller, new, client_key=transfer.client_key).id


async def pieces(part, *, broken=False):
    for at in range(0, len(part), 70_001):
        yield part[at : at + 70_001]
    if broken:
        raise BodyIncomplete


def put(resources, caller, transfer, upload, part, *, at, **options):
    """Send one part; with `broken`, the connection is lost behind it."""
    checksum = options.pop("checksum", None)
    asked = PartRequest(caller, upload, transfer.client_key, at, options.pop("announced", None))
    return run(receive_part(resources, asked, pieces(part, **options), checksum=checksum))


def offset_of(resources, caller, upload):
    return show_upload(resources, caller, upload).offset


def fetched(resources, caller, transfer):
    return run(fetch(resources, run(claim(resources, run(issue(resources, caller, transfer))))))


def test_a_file_in_parts_of_any_size_is_the_file(resources, caller, transfer, content, nonces):
    upload = announce(resources, caller, transfer)
    dice, at = random.Random(1), 0
    while at < LENGTH:
        size = dice.choice([0, 1, 100, 16_383, 16_384, 16_385, 70_000, 1_100_000])
        at = put(resources, caller, transfer, upload, content[at : at + size], at=at).offset
        assert at == offset_of(resources, caller, upload)
    assert at == LENGTH
    (file,) = files_of(resources, transfer.id)
    assert file.size == LENGTH
    assert fetched(resources, caller, transfer) == content


@pytest.mark.parametrize("seed", first(2, range(6)))
def test_cut_and_killed_at_random_it_still_arrives_and_no_nonce_serves_twice(
    resources, caller, transfer, content, nonces, time, seed
):
    """Lost connections keep what arrived. A process that dies before it could say where it stopped makes the file
    begin again, under another salt, also when its bytes did reach the disk.
    """
    upload, dice = announce(resources, caller, transfer), random.Random(seed)
    for _ in range(60):
        at = offset_of(resources, caller, upload)
        if at == LENGTH:
            break
        part = content[at : at + dice.randrange(1, LENGTH)]
        fate = dice.choice(["whole", "lost", "dies"] if _ < 40 else ["whole"])
        point = dice.choice(["upload.part_held", "deposit.body_half", "upload.blob_suspended"])
        try:
            if fate == "dies":
                with on_reach(point, _die):
                    put(resources, caller, transfer, upload, part, at=at)
            else:
                put(resources, caller, transfer, upload, part, at=at, broken=fate == "lost")
        except BodyIncomplete:
            assert offset_of(resources, caller, upload) >= at + len(part) - 1, "what arrived is kept"
        except Died:
            time.pass_by(LEASE_IS_OVER)
    assert offset_of(resources, caller, upload) == LENGTH
    assert fetched(resources, caller, transfer) == content
    assert len(blobs_held(resources)) == 1


def _die():
    raise Died


def test_another_content_after_a_lost_part_is_never_under_the_same_nonces(
    resources, caller, transfer, content, nonces, time
):
    upload = announce(resources, caller, transfer)
    with pytest.raises(Died), on_reach("upload.blob_suspended", _die):
        put(resources, caller, transfer, upload, content[:1_000_000], at=0)
    with pytest.raises(UploadInProgress):
        offset_of(resources, caller, upload)
    time.pass_by(LEASE_IS_OVER)
    assert offset_of(resources, caller, upload) == 0
    with pytest.raises(WrongOffset) as refused:
        put(resources, caller, transfer, upload, content[500_000:], at=500_000)
    assert refused.value.members == {"offset": 0}
    other = bytes(reversed(content))
    put(resources, caller, transfer, upload, other, at=0)
    assert fetched(resources, caller, transfer) == other


def test_nothing_of_it_lies_in_clear_between_two_parts(resources, caller, transfer):
    upload = announce(resources, caller, transfer, 40_000)
    put(resources, caller, transfer, upload, b"CANARI-RESULTAT;positif;" * 800, at=0)
    stored = everything_stored(resources)
    assert b"CANARI" not in stored
    assert b"DUPONT" not in stored


def test_two_parts_at_once_are_refused_and_harm_nothing(resources, caller, transfer, content, nonces):
    upload, seen = announce(resources, caller, transfer), []

    def another():
        with pytest.raises(UploadInProgress):
            put_from_a_thread(resources, caller, transfer, upload, content)
        seen.append(1)

    with on_reach("upload.part_held", lambda: seen or another()):
        put(resources, caller, transfer, upload, content, at=0)
    assert seen
    assert fetched(resources, caller, transfer) == content


def put_from_a_thread(resources, caller, transfer, upload, part):
    from app.lifecycle import upload_parts

    upload_parts.hold(resources, PartRequest(caller, upload, transfer.client_key, 0, len(part)))


def test_a_checksum_is_checked_before_anything_is_encrypted(resources, caller, transfer, content, nonces):
    upload = announce(resources, caller, transfer)
    right = Checksum.parse("sha256 " + base64.b64encode(hashlib.sha256(content[:50_000]).digest()).decode())
    with pytest.raises(ChecksumMismatch):
        put(resources, caller, transfer, upload, content[1:50_001], at=0, checksum=right)
    assert not nonces - {each for each in nonces if each[1] == 0}, "only its name was encrypted"
    assert offset_of(resources, caller, upload) == 0
    assert put(resources, caller, transfer, upload, content[:50_000], at=0, checksum=right).offset == 50_000
    for bad in ("md5 " + base64.b64encode(bytes(16)).decode(), "sha256", "sha256 !!", "sha1 " + "A" * 44, ""):
        with pytest.raises(InvalidRequest):
            Checksum.parse(bad)


def test_a_part_must_fit(resources, caller, transfer, content):
    upload = announce(resources, caller, transfer, 1_000)
    for at in (1, 1_000, 5_000):
        with pytest.raises(WrongOffset):
            put(resources, caller, transfer, upload, b"x", at=at)
    with pytest.raises(TooLarge):
        put(resources, caller, transfer, upload, b"", at=0, announced=1_001)
    with pytest.raises(TooLarge):
        put(resources, caller, transfer, upload, bytes(1_001), at=0)
    put(resources, caller, transfer, upload, content[:1_000], at=offset_of(resources, caller, upload))
    with pytest.raises(WrongOffset):
        put(resources, caller, transfer, upload, b"x", at=0)
    assert fetched(resources, caller, transfer) == content[:1_000]


def test_an_unfinished_upload_holds_back_the_first_share(resources, caller, transfer, content):
    upload = announce(resources, caller, transfer)
    put(resources, caller, transfer, upload, content[:500_000], at=0)
    with pytest.raises(UploadUnfinished):
        run(issue(resources, caller, transfer))
    run(end_upload(resources, caller, upload))
    assert blobs_held(resources) == set()
    with pytest.raises(UploadNotFound):
        offset_of(resources, caller, upload)
    again = announce(resources, caller, transfer, 5)
    put(resources, caller, transfer, again, b"whole", at=0)
    with pytest.raises(UploadNotFound):
        run(end_upload(resources, caller, again))
    assert fetched(resources, caller, transfer) == b"whole"
    with pytest.raises(TransferClosed):
        announce(resources, caller, transfer)


def test_announced_again_before_anything_arrived_it_is_the_same_upload(resources, caller, transfer, content):
    upload = announce(resources, caller, transfer, number=0)
    renamed = FileMeta.checked("renamed.csv", "text/csv")
    assert announce(resources, caller, transfer, number=0, meta=renamed) == upload
    with pytest.raises(WrongFileNumber):
        announce(resources, caller, transfer, LENGTH + 1, number=0)
    put(resources, caller, transfer, upload, content[:10], at=0)
    with pytest.raises(WrongFileNumber):
        announce(resources, caller, transfer, number=0)
    assert announce(resources, caller, transfer, number=1) != upload


def test_another_owner_and_another_key_get_nothing(resources, caller, transfer, content):
    upload, stranger = announce(resources, caller, transfer), a_caller(resources)
    for attempt in (
        lambda: offset_of(resources, stranger, upload),
        lambda: put(resources, stranger, transfer, upload, content, at=0),
        lambda: run(end_upload(resources, stranger, upload)),
    ):
        with pytest.raises(UploadNotFound):
            attempt()
    wrong = type(transfer)(transfer.id, os.urandom(32), transfer.expires_at)
    with pytest.raises(WrongClientKey):
        put(resources, caller, wrong, upload, content, at=0)
    assert offset_of(resources, caller, upload) == 0


def test_parts_end_with_their_transfer(resources, caller, transfer, content):
    upload = announce(resources, caller, transfer)
    put(resources, caller, transfer, upload, content[:100_000], at=0)
    delete_transfer(resources, transfer.id, caller=caller)
    with pytest.raises(UploadNotFound):
        put(resources, caller, transfer, upload, content[100_000:], at=100_000)
    sweep(resources)
    assert blobs_held(resources) == set()
    assert count_rows(resources, uploads) == 0
    assert transfer_row(resources, transfer.id).state == "verified"


def test_a_part_that_runs_is_cut_when_its_transfer_ends(resources, caller, transfer, content):
    upload = announce(resources, caller, transfer)

    async def slow():
        yield content[:100_000]
        delete_transfer(resources, transfer.id, caller=caller)
        yield content[100_000:]

    with pytest.raises((TransferEnded, UploadNotFound)):
        run(receive_part(resources, PartRequest(caller, upload, transfer.client_key, 0, None), slow()))
    sweep(resources)
    assert blobs_held(resources) == set()


def test_an_upload_that_nobody_continues_is_swept(resources, caller, start_service, time, content):
    service = start_service(max_lifetime="10d", deadman="1d")
    transfer = _long_lived(service, caller)
    upload = announce(service, caller, transfer)
    put(service, caller, transfer, upload, content[:100_000], at=0)
    time.pass_by(rules.IDLE - timedelta(minutes=1))
    put(service, caller, transfer, upload, content[100_000:200_000], at=100_000)
    sweep(service)
    assert offset_of(service, caller, upload) == 200_000, "each part extends its life"
    time.pass_by(rules.IDLE + timedelta(minutes=1))
    with pytest.raises(UploadNotFound):
        offset_of(service, caller, upload)
    sweep(service)
    assert blobs_held(service) == set()
    assert count_rows(service, uploads) == 0


def _long_lived(resources, caller):
    from tests.integration.actions.stories import a_transfer

    return a_transfer(resources, caller, lifetime=timedelta(days=5))


def test_a_lockdown_pauses_an_upload_and_loses_nothing_of_it(resources, caller, transfer, content, nonces):
    upload = announce(resources, caller, transfer)
    put(resources, caller, transfer, upload, content[:100_000], at=0)
    lock_down(resources.database, resources.clock)
    with pytest.raises(LockedDown):
        put(resources, caller, transfer, upload, content[100_000:], at=100_000)
    lift_lockdown(resources.database, resources.clock)
    put(resources, caller, transfer, upload, content[100_000:], at=100_000)
    assert fetched(resources, caller, transfer) == content


@pytest.mark.parametrize("column", ["tail", "offset", "blob_id"])
def test_an_altered_row_begins_again_and_loses_nothing(resources, caller, transfer, content, nonces, column):
    """Nobody who writes to the database is believed: what goes on is bound to upload, offset and blob."""
    upload = announce(resources, caller, transfer)
    put(resources, caller, transfer, upload, content[:100_000], at=0)
    other = announce(resources, caller, transfer, 200_000)
    put(resources, caller, transfer, other, content[:100_000], at=0)
    with resources.database.reading() as connection:
        theirs = upload_rows.find(connection, other)
    assert theirs is not None
    run(end_upload(resources, caller, other))
    changed = {"tail": theirs.tail, "offset": 98_304, "blob_id": new_id()}[column]
    change(resources, uploads, upload, **{column: changed})
    at = 98_304 if column == "offset" else 100_000
    with pytest.raises(UploadNotFound if column == "blob_id" else WrongOffset):
        put(resources, caller, transfer, upload, content[at:], at=at)
    if column == "blob_id":
        return  # no file is its own any more: nothing is reported as stored, and the sweeper removes what is left
    put(resources, caller, transfer, upload, content, at=0)
    assert fetched(resources, caller, transfer) == content


def test_what_failed_at_its_end_is_never_shown_as_stored(resources, caller, transfer, content):
    """The last part arrived, and a lockdown came before the file could be stored: it is announced and sent again."""
    upload = announce(resources, caller, transfer, 1_000, number=0)
    locked = on_reach("deposit.blob_committed", lambda: lock_down(resources.database, resources.clock))
    with locked, pytest.raises(LockedDown):
        put(resources, caller, transfer, upload, content[:1_000], at=0)
    lift_lockdown(resources.database, resources.clock)
    with pytest.raises(UploadNotFound):
        offset_of(resources, caller, upload)
    assert blobs_held(resources) == set()
    again = announce(resources, caller, transfer, 1_000, number=0)
    put(resources, caller, transfer, again, content[:1_000], at=0)
    assert fetched(resources, caller, transfer) == content[:1_000]


def test_a_store_that_is_out_of_reach_for_a_while_costs_nothing(resources, caller, transfer, content, nonces):
    upload = announce(resources, caller, transfer)
    put(resources, caller, transfer, upload, content[:100_000], at=0)
    with out_of_reach(resources.settings.blobs_dir), pytest.raises(BlobsOutOfReach):
        put(resources, caller, transfer, upload, content[100_000:], at=100_000)
    put(resources, caller, transfer, upload, content[100_000:], at=100_000)
    assert fetched(resources, caller, transfer) == content


def test_a_row_put_back_to_an_earlier_part_does_not_use_its_nonces_again(resources, caller, transfer, content, nonces):
    upload = announce(resources, caller, transfer)
    put(resources, caller, transfer, upload, content[:100_000], at=0)
    with resources.database.reading() as connection:
        earlier = upload_rows.find(connection, upload)
    assert earlier is not None
    put(resources, caller, transfer, upload, content[100_000:300_000], at=100_000)
    change(resources, uploads, upload, offset=earlier.offset, tail=earlier.tail)
    with pytest.raises(WrongOffset):
        put(resources, caller, transfer, upload, bytes(200_000), at=100_000)
    put(resources, caller, transfer, upload, content, at=0)
    assert fetched(resources, caller, transfer) == content


def test_a_deposit_of_one_piece_costs_no_more_than_before(resources, caller):
    send(resources, caller)
    assert count_rows(resources, uploads) == 0
