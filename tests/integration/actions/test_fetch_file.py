"""Fetching what was claimed: any range of it, as long as the claim stands, and not for ever."""

import random
import zlib
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.fetch_file import PIECE_BYTES
from app.actions.log_fetches import log_fetches
from app.actions.withdraw_share import withdraw_share
from app.crypto import chunked, wrapping
from app.crypto.errors import CannotDecrypt
from app.crypto.token import new_id, new_secret
from app.db.tables import claims, files
from app.domain.claim import DELIVERED_WINDOW, allowance_bytes
from app.domain.errors import (
    BlobsOutOfReach,
    Busy,
    ClaimedByProof,
    ClaimEnded,
    ClaimExhausted,
    ClaimNotFound,
    FileNotFound,
    Refusal,
    ShareWithdrawn,
    VaultOutOfReach,
)
from app.domain.file_meta import FileMeta
from app.domain.share import ShareState
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.download import DOWNLOADS_AT_ONCE
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    NAME,
    a_transfer,
    blob_path,
    change,
    claim,
    claim_row,
    deposit,
    fetch,
    files_of,
    issue,
    keys_held,
    log_of,
    open_claim,
    out_of_reach,
    pieces_of,
    run,
    send,
    share_row,
    sweep,
)

LARGE = random.Random(1).randbytes(2 * PIECE_BYTES + 3 * 16_384)  # ends on the border of a chunk
BORDERS = [0, 1, 16_383, 16_384, 16_385, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, len(LARGE) - 1]


@pytest.fixture
def claimed(resources, sent):
    return run(claim(resources, sent.share))


# Ranges


@pytest.fixture
def large(resources, caller):
    return run(claim(resources, send(resources, caller, content=LARGE).share))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.sampled_from(BORDERS), st.integers(0, len(LARGE))),
    st.one_of(st.sampled_from([0, 1, 2, 16_384, PIECE_BYTES]), st.integers(0, len(LARGE))),
)
def test_any_range_is_that_of_the_plaintext(resources, large, start, length):
    """docs/security.md, chunked encryption: byte i lies in chunk i // 16384; a range may begin and end anywhere."""
    stop = min(start + length, len(LARGE))

    async def story():
        opened = await open_claim(resources, large)
        plain = b"".join([bytes(piece) async for piece in opened.read_plaintext(opened.files[0], start, stop)])
        sealed = b"".join([bytes(piece) async for piece in opened.read_ciphertext(opened.files[0], start, stop)])
        return plain, sealed

    plain, sealed = run(story())
    blob = next(resources.settings.blobs_dir.glob("??/*")).read_bytes()
    assert plain == LARGE[start:stop]
    assert sealed == blob[start:stop]


def test_pieces_are_small_so_that_memory_does_not_grow(resources, large):
    async def story():
        opened = await open_claim(resources, large)
        return [len(piece) async for piece in opened.read_plaintext(opened.files[0], 5, len(LARGE))]

    sizes = run(story())
    assert sum(sizes) == len(LARGE) - 5
    assert max(sizes) <= PIECE_BYTES


def test_a_cut_download_resumes_where_it_was_cut(resources, large):
    """Lesson 15 (Send #1097): 50%, then the rest."""
    half = len(LARGE) // 2
    assert run(fetch(resources, large, stop=half)) + run(fetch(resources, large, start=half)) == LARGE


def test_a_byte_neither_completes_nor_blocks(resources, sent, claimed):
    """Lesson 15 (Hemmelig #505, OnionShare)."""
    assert run(fetch(resources, claimed, stop=1)) == CONTENT[:1]
    assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
    assert run(fetch(resources, claimed)) == CONTENT


def test_several_files_are_fetched_one_by_one_or_together(resources, caller):
    transfer = a_transfer(resources, caller)

    async def story():
        for number in range(3):
            await deposit(resources, caller, transfer, bytes([number]) * 10, name=f"{number}.bin")
        claimed = await claim(resources, await issue(resources, caller, transfer))
        together = await open_claim(resources, claimed)
        some = await open_claim(resources, claimed, numbers=[2, 0, 7])
        return claimed, [each.number for each in together.files], [together.meta(each).name for each in some.files]

    claimed, numbers, names = run(story())
    assert numbers == [0, 1, 2]
    assert names == ["0.bin", "2.bin"]
    for number in range(3):
        assert run(fetch(resources, claimed, number)) == bytes([number]) * 10


def test_a_fetch_is_logged_with_what_went_out(resources, sent, claimed):
    """G6: the log alone answers who fetched what."""
    run(fetch(resources, claimed, stop=10))

    async def cut():
        opened = await open_claim(resources, claimed)
        async with opened.download(pieces_of(7, 3), 10, delivers=True) as download:
            await anext(download)
            await anext(download)  # both have gone out; the second has not arrived
            download.acknowledge(3)

    run(cut())
    log_fetches(resources, all_of_them=True)
    entries = log_of(resources, event="file.fetched")
    told = [tuple(entry[name] for name in ("size", "acknowledged", "outcome", "file")) for entry in entries]
    assert told == [(10, 10, "sent", 0), (10, 7, "cut", 0)]
    assert {entry["claim"] for entry in entries} == {claimed.claim_id}
    assert {entry["address"] for entry in entries} == {ADDRESS}
    assert claim_row(resources, sent.share.id).bytes_served == 17
    assert claim_row(resources, sent.share.id).delivered_at is None


def test_names_come_with_the_files(resources, claimed):
    async def story():
        opened = await open_claim(resources, claimed)
        return opened.meta(opened.files[0])

    assert run(story()) == FileMeta(NAME, "text/csv", zlib.crc32(CONTENT))


# Not for ever


def test_files_are_sent_at_most_three_times_over(resources, large):
    """Lesson 16 (Lufi re-reads for ever): bytes are capped."""
    (sealed_size,) = (file.sealed_size for file in large.files)
    for _ in range(3):
        assert run(fetch(resources, large)) == LARGE
    with pytest.raises(ClaimExhausted):
        run(fetch(resources, large))
    with pytest.raises(ClaimExhausted):
        run(fetch(resources, large, decrypted=False))
    share_id = log_of(resources, event="share.claimed")[0]["share"]
    assert claim_row(resources, share_id).bytes_served == 3 * len(LARGE) <= allowance_bytes([sealed_size])


def test_many_streams_at_once_get_no_more_than_one_after_the_other(resources, sent, claimed):
    """Lesson 16: what a stream may send is taken out of the allowance before its first byte."""
    allowance = claim_row(resources, sent.share.id).allowance

    async def story():
        files = await open_claim(resources, claimed)
        async with files.download(pieces_of(), 10):
            async with files.download(pieces_of(allowance - 20, 10), allowance - 10) as first:
                with pytest.raises(Busy):
                    await files.download(pieces_of(), 1).__aenter__()
                assert claim_row(resources, sent.share.id).bytes_reserved == allowance
                await anext(first)
                await anext(first)
                first.acknowledge(10)
            async with files.download(pieces_of(), 10):
                row = claim_row(resources, sent.share.id)
                assert (row.bytes_served, row.bytes_reserved) == (allowance - 20, 20)
                with pytest.raises(ClaimExhausted):
                    await files.download(pieces_of(), 21).__aenter__()

    run(story())
    row = claim_row(resources, sent.share.id)
    assert (row.bytes_served, row.bytes_reserved) == (allowance - 20, 0)


def test_a_claim_has_so_many_downloads_at_once_and_no_more(resources, large):
    """Each that stalls keeps memory: many requests for a byte must not keep as much as there are of them."""

    async def story():
        files = await open_claim(resources, large)
        async with AsyncExitStack() as others:
            for _ in range(DOWNLOADS_AT_ONCE - 1):
                await others.enter_async_context(files.download(pieces_of(), 1))
            for _ in range(2):
                async with files.download(pieces_of(), 1) as last:
                    with pytest.raises(Busy):
                        await files.download(pieces_of(), 1).__aenter__()
                    await last.arrived()
                    await last.arrived()
        with pytest.raises(ClaimExhausted):
            await files.download(pieces_of(), 10 * len(LARGE)).__aenter__()

    run(story())
    assert resources.downloads == {}


def test_what_was_reserved_and_not_sent_is_given_back(resources, sent, claimed):
    """Lesson 15: a cut download costs the recipient what arrived, and no more."""

    async def story():
        files = await open_claim(resources, claimed)
        async with files.download(pieces_of(100, 50, 25), 1000) as download:
            await anext(download)
            await download.check()
            await anext(download)
            await anext(download)
            download.acknowledge(25)
            download.acknowledge(30)  # never fewer than before
            assert claim_row(resources, sent.share.id).bytes_reserved == 1000

    run(story())
    row = claim_row(resources, sent.share.id)
    assert (row.bytes_served, row.bytes_reserved) == (150, 0)


def test_a_download_that_fails_is_settled(resources, sent, claimed):
    """Whatever is raised inside, also by the pieces."""

    async def failing():
        yield bytes(5)
        raise CannotDecrypt

    async def story():
        files = await open_claim(resources, claimed)
        async with files.download(failing(), 100) as download:
            async for _ in download:
                download.acknowledge(0)

    with pytest.raises(CannotDecrypt):
        run(story())
    row = claim_row(resources, sent.share.id)
    assert (row.bytes_served, row.bytes_reserved, resources.downloads) == (5, 0, {})
    assert [entry["outcome"] for entry in log_of(resources, event="file.fetched")] == ["cut"]


def test_nothing_of_a_download_is_had_out_of_order(resources, claimed):
    """Without a reservation, after the end, or twice."""

    async def story():
        download = (await open_claim(resources, claimed)).download(pieces_of(1, 1), 2)
        with pytest.raises(RuntimeError):
            await anext(download)
        async with download:
            await download.arrived()
            with pytest.raises(RuntimeError):
                await anext(download)
        with pytest.raises(RuntimeError):
            await anext(download)
        with pytest.raises(RuntimeError):
            await download.__aenter__()

    run(story())
    assert [entry["size"] for entry in log_of(resources, event="file.fetched")] == [0]


# The window


def test_the_window_slides_with_what_is_sent(resources, claimed, time):
    """docs/http-api.md: 60 minutes after the last byte served."""
    for _ in range(4):
        time.pass_by(timedelta(minutes=59))
        assert run(fetch(resources, claimed, stop=1)) == CONTENT[:1]


def test_a_claim_ends_with_its_window_whether_or_not_a_sweep_has_passed(resources, claimed, time):
    """Lesson 16: the client never completes."""
    time.pass_by(timedelta(minutes=60))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


def test_a_stream_that_sends_keeps_its_window_open(resources, claimed, time):
    async def story():
        files = await open_claim(resources, claimed)
        async with files.download(pieces_of(1, 1, 1, 1), 4) as download:
            await anext(download)
            for waiting in (0, 1, 1):  # one of two, two of three, three of four bytes
                time.pass_by(timedelta(minutes=59))
                await anext(download)
                download.acknowledge(waiting)
                await download.check()
            time.pass_by(timedelta(minutes=60))
            with pytest.raises(ClaimEnded):
                await download.check()

    run(story())


def test_the_window_never_passes_the_expiry(resources, sent, claimed, time):
    time.pass_until(sent.transfer.expires_at - timedelta(seconds=1))
    change(resources, claims, claimed.claim_id, window_until=sent.transfer.expires_at)
    run(fetch(resources, claimed, stop=1))
    assert claim_row(resources, sent.share.id).window_until == sent.transfer.expires_at
    time.pass_by(1)
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


def test_delivery_in_one_go_shortens_the_window_and_never_lengthens_it_again(resources, sent, claimed, time):
    async def deliver():
        files = await open_claim(resources, claimed)
        async with files.download(pieces_of(len(CONTENT)), len(CONTENT), delivers=True) as download:
            await anext(download)
            await download.arrived()

    run(deliver())
    row = claim_row(resources, sent.share.id)
    assert (row.delivered_at, row.window_until) == (time(), time() + DELIVERED_WINDOW)
    time.pass_by(timedelta(minutes=4))
    assert run(fetch(resources, claimed)) == CONTENT  # a buffer is not a receipt: it can resume
    assert claim_row(resources, sent.share.id).window_until == row.window_until
    time.pass_by(timedelta(minutes=1))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


# What ends while it runs


def cut(resources, claimed, end, *, by="check"):
    """Begin to fetch, let `end` happen, and go on; answers what was received before the refusal."""

    async def story():
        files = await open_claim(resources, claimed)
        received = []
        try:
            async with files.plaintext(files.files[0], 0, len(LARGE)) as download:
                async for piece in download:
                    received.append(bytes(piece))
                    end()
                    if by == "check":
                        await download.check()
        except ClaimEnded:
            return b"".join(received)
        raise AssertionError("the stream was not cut")

    return run(story())


def test_the_expiry_cuts_a_stream_before_the_next_piece(resources, large, time):
    """docs/deletion.md: cut within a second."""
    received = cut(resources, large, lambda: time.pass_until(large.expires_at), by="piece")
    assert received == LARGE[:PIECE_BYTES]


@pytest.mark.parametrize("end", ["withdrawn", "deleted", "completed", "expired", "lapsed"])
def test_every_end_cuts_a_stream_at_the_next_look(resources, caller, large, time, end):
    """Lesson 18: looked at each second, whoever ended it."""
    share_id = log_of(resources, event="share.claimed")[0]["share"]
    ends = {
        "withdrawn": lambda: withdraw_share(resources, share_id, caller=caller),
        "deleted": lambda: delete_transfer(resources, large.transfer_id, caller=None),
        "completed": lambda: complete_claim(resources, claim_id=large.claim_id, token=large.token, address=ADDRESS),
        "expired": lambda: time.pass_until(large.expires_at),
        "lapsed": lambda: time.pass_by(timedelta(hours=1)),
    }
    assert cut(resources, large, ends[end]) == LARGE[:PIECE_BYTES]


def test_nothing_is_taken_out_of_the_allowance_once_the_share_has_ended(resources, caller, sent, claimed):
    """The end of a share tells how much was taken: what comes after it would be in nobody's account."""

    async def story():
        files = await open_claim(resources, claimed)
        withdraw_share(resources, sent.share.id, caller=caller)
        with pytest.raises(ShareWithdrawn):
            await files.download(pieces_of(100), 100).__aenter__()

    run(story())
    assert claim_row(resources, sent.share.id).bytes_served == 0


@pytest.mark.parametrize("end", ["withdrawn", "deleted", "completed", "locked"])
def test_an_ended_claim_sends_nothing(resources, caller, sent, claimed, end):
    """Lesson 18."""
    if end == "withdrawn":
        withdraw_share(resources, sent.share.id, caller=caller)
    elif end == "deleted":
        delete_transfer(resources, sent.id, caller=caller)
    elif end == "completed":
        complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    else:
        change(resources, claims, claimed.claim_id, window_until=resources.clock.now())
    for decrypted in (True, False):
        with pytest.raises(ShareWithdrawn if end in {"withdrawn", "deleted"} else ClaimEnded):
            run(fetch(resources, claimed, decrypted=decrypted))


def test_an_expired_claim_sends_nothing(resources, sent, claimed, time):
    """Lesson 1, also when the database was told otherwise."""
    time.pass_until(sent.transfer.expires_at)
    change(resources, claims, claimed.claim_id, window_until=sent.transfer.expires_at + timedelta(days=365))
    for decrypted in (True, False):
        with pytest.raises(ClaimEnded):
            run(fetch(resources, claimed, decrypted=decrypted))


# Refusals


def test_a_wrong_token_and_an_unknown_claim_are_one_refusal(resources, caller, claimed):
    """Lesson 23."""
    other = run(claim(resources, send(resources, caller).share))
    for wrong in (
        replace(claimed, token=new_secret()),
        replace(claimed, token=other.token),
        replace(claimed, token=b""),
        replace(claimed, claim_id=new_id()),
        replace(claimed, claim_id="\0" * 22),
        replace(claimed, claim_id=""),
    ):
        for decrypted in (True, False):
            with pytest.raises(ClaimNotFound) as refused:
                run(fetch(resources, wrong, decrypted=decrypted))
            assert refused.value.detail == ClaimNotFound.title


def test_a_file_that_is_not_there_is_not_found(resources, claimed):
    for number in (1, -1, 10**9):
        with pytest.raises(FileNotFound):
            run(fetch(resources, claimed, number))


def test_a_claim_by_proof_gets_no_plaintext_from_the_server(resources, sent):
    presented = LinkAndPassword(wrapping.link_proof(sent.share.link_secret), None, sent.share.password, None, ADDRESS)
    claimed = run(claim_share(resources, sent.share.id, presented))
    with pytest.raises(ClaimedByProof):
        run(fetch(resources, claimed))
    assert len(run(fetch(resources, claimed, decrypted=False))) == chunked.sealed_size(len(CONTENT))


def test_a_download_of_ciphertext_has_no_key(resources, claimed):
    async def story():
        opened = await open_claim(resources, claimed, decrypted=False)
        with pytest.raises(ClaimedByProof):
            opened.meta(opened.files[0])
        assert opened.transfer_key is None

    run(story())


def test_without_the_key_vault_no_plaintext_is_sent(resources, claimed):
    """Lesson 17."""
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultOutOfReach):
        run(fetch(resources, claimed))
    assert run(fetch(resources, claimed)) == CONTENT


def test_without_the_blob_nothing_is_sent(resources, claimed):
    with out_of_reach(resources.settings.blobs_dir), pytest.raises(BlobsOutOfReach):
        run(fetch(resources, claimed))
    assert run(fetch(resources, claimed)) == CONTENT


def test_keys_that_the_vault_has_ended_end_the_claim(resources, claimed):
    """G1: whatever the database says."""
    resources.vault.destroy(keys_held(resources))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


# What was altered


def flip(blob, at):
    blob[at] ^= 1
    return blob


CHUNK = chunked.SEALED_CHUNK_BYTES
ALTERED = {
    "a bit of the salt": lambda blob: flip(blob, 0),
    "a bit of the commitment": lambda blob: flip(blob, 30),
    "a bit of the first chunk": lambda blob: flip(blob, 56),
    "a bit of a tag": lambda blob: flip(blob, 56 + CHUNK - 1),
    "the last bit": lambda blob: flip(blob, len(blob) - 1),
    "two chunks swapped": lambda blob: (
        blob[:56] + blob[56 + CHUNK : 56 + 2 * CHUNK] + blob[56 : 56 + CHUNK] + blob[56 + 2 * CHUNK :]
    ),
    "cut after a chunk": lambda blob: blob[: 56 + 2 * CHUNK],
    "cut by a byte": lambda blob: blob[:-1],
    "a byte more": lambda blob: blob + b"\0",
    "empty": lambda blob: bytearray(),
}


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_blob_fails_loudly(resources, caller, how):
    """Lessons 23 and 33: truncated, extended, reordered, flipped; no byte of it passes for the file."""
    content = random.Random(2).randbytes(3 * 16_384)
    sent = send(resources, caller, content=content)
    claimed = run(claim(resources, sent.share))
    (file,) = files_of(resources, sent.id)
    path = blob_path(resources, file.blob_id)
    path.write_bytes(ALTERED[how](bytearray(path.read_bytes())))
    with pytest.raises((CannotDecrypt, BlobsOutOfReach)):
        run(fetch(resources, claimed))


@pytest.mark.parametrize("column", ["size", "sealed_size"])
def test_sizes_altered_in_the_database_do_not_cut_a_file_unnoticed(resources, caller, column):
    """Lesson 33: truncated by a row rather than by a disk."""
    sent = send(resources, caller, content=b"x" * 40_000)
    claimed = run(claim(resources, sent.share))
    shorter = {"size": 20_000, "sealed_size": chunked.sealed_size(20_000)}[column]
    change(resources, files, sent.id, **{column: shorter})
    with pytest.raises(CannotDecrypt):
        run(fetch(resources, claimed))


@pytest.mark.parametrize(("table", "column"), [(claims, "wrapped_key"), (claims, "token_digest")])
def test_an_altered_claim_opens_nothing(resources, claimed, table, column):
    """Lesson 23: flip any bit of a token, claim, blob, wrapped key: one and the same refusal."""
    value = bytearray(getattr(claim_row(resources, log_of(resources, event="share.claimed")[0]["share"]), column))
    change(resources, table, claimed.claim_id, **{column: bytes(flip(value, 13))})
    with pytest.raises(ClaimNotFound):
        run(fetch(resources, claimed))


def test_a_swept_transfer_sends_nothing(resources, sent, claimed, time):
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    with pytest.raises(Refusal):
        run(fetch(resources, claimed))
