"""Sealed transfers: the server stores what it cannot open, under the same guards, and ends it in the same ways."""

import asyncio
import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from app.actions.accept_restore import accept_restore
from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.fetch_file import open_files
from app.actions.issue_share import NewShare, prepare_share
from app.actions.keep_owner_key import show_owner_key, store_owner_key
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.look_at_share import look_at_share
from app.actions.open_share import open_share
from app.actions.reconcile import reconcile
from app.actions.revoke_access_token import revoke_access_token
from app.actions.verify_log import verify_log
from app.actions.withdraw_share import withdraw_share
from app.client import sealing
from app.crypto.chunked import sealed_size
from app.crypto.token import new_secret
from app.crypto.wrapping import link_proof
from app.db.tables import shares, transfers
from app.domain import share as share_rules
from app.domain.errors import (
    ClaimedByProof,
    ClientTooSlow,
    DiskNearlyFull,
    InvalidRequest,
    KeyAlreadySet,
    LockedDown,
    MalformedCiphertext,
    MalformedPassword,
    NotAuthenticated,
    OwnerKeyMissing,
    Refusal,
    RetentionNotAssured,
    ShareExpired,
    ShareLocked,
    ShareNotFound,
    ShareUsed,
    ShareWithdrawn,
    TooLarge,
    TransferClosed,
    TransferEmpty,
    TransferEnded,
    TransferIsSealed,
    TransferNotFound,
    TransferNotSealed,
    UploadUnfinished,
    WrongFileNumber,
    WrongPassword,
)
from app.domain.file_meta import MAX_JSON_BYTES, FileMeta
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle import intake
from app.lifecycle.claimable_share import LinkAndPassword
from app.runtime import stream_watch
from app.runtime.fault_points import on_reach
from app.storage.errors import VaultUnavailable
from tests.integration.actions.sealed_stories import (
    SealedShare,
    a_sealed_transfer,
    ciphertext,
    claim_sealed,
    deposit_sealed,
    fetch_sealed,
    let_claim,
    opened,
    owner_wrap,
    prepare,
    send_sealed,
    share_wrap,
)
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    NAME,
    WRONG_PASSWORD,
    a_caller,
    a_transfer,
    abandon_upload,
    blob_path,
    blobs_held,
    body,
    change,
    count_rows,
    deposit,
    events_of,
    everything_stored,
    files_of,
    issue,
    keys_held,
    log_of,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def transfer(resources, caller):
    return a_sealed_transfer(resources, caller)


@pytest.fixture
def filled(resources, caller, transfer):
    run(deposit_sealed(resources, caller, transfer))
    return transfer


@pytest.fixture
def prepared(resources, caller, filled):
    return run(prepare(resources, caller, filled))


@pytest.fixture
def share(resources, caller):
    return send_sealed(resources, caller)


@pytest.fixture
def quick_watch(monkeypatch):
    monkeypatch.setattr(stream_watch, "CHECK_SECONDS", 0.02)


def assert_nothing_left(resources, transfer):
    assert blobs_held(resources) == set()
    assert files_of(resources, transfer.id) == []
    assert events_of(resources, event="file.deposited") == []


def by_proof(share: SealedShare, password: str | None = None) -> LinkAndPassword:
    return LinkAndPassword(link_proof(share.link_secret), None, password or share.password, None, ADDRESS)


# What goes in comes out


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 1024 * 1024 + 7])
def test_a_sealed_file_comes_back_as_it_went_in(resources, caller, transfer, size):
    content = random.Random(size).randbytes(size)
    sealed = ciphertext(transfer, content)
    pieces = [sealed[at : at + 70_001] for at in range(0, len(sealed), 70_001)]

    async def story():
        assert await deposit_sealed(resources, caller, transfer, body(*pieces), announced_size=len(sealed)) == size
        share = await prepare(resources, caller, transfer)
        let_claim(resources, caller, share)
        claimed = await claim_sealed(resources, share)
        return share, claimed, await fetch_sealed(resources, share, claimed)

    share, claimed, received = run(story())
    assert received == content
    (file,) = claimed.files
    assert (file.number, file.size, file.sealed_size, file.meta) == (0, size, sealed_size(size), None)
    key = opened(share, claimed)
    assert sealing.open_meta(key, transfer.id, 0, file.sealed_meta) == FileMeta(NAME, "text/csv")


def test_the_blob_is_stored_as_it_came(resources, caller, transfer):
    sealed = ciphertext(transfer)
    run(deposit_sealed(resources, caller, transfer, sealed))
    (file,) = files_of(resources, transfer.id)
    assert blob_path(resources, file.blob_id).read_bytes() == sealed


def test_both_modes_store_the_same_rows(resources, caller, share):
    plain = send(resources, caller)
    for one, other in (
        (transfer_row(resources, share.transfer.id), transfer_row(resources, plain.id)),
        (files_of(resources, share.transfer.id)[0], files_of(resources, plain.id)[0]),
        (share_row(resources, share.id), share_row(resources, plain.share.id)),
    ):
        for name in one.__dataclass_fields__:
            mine, theirs = getattr(one, name), getattr(other, name)
            assert type(mine) is type(theirs), name
            assert not isinstance(mine, bytes) or len(mine) == len(theirs), name
    assert len(keys_held(resources)) == 4


def test_the_service_at_rest_and_its_log_hold_no_secret_of_the_programs(resources, caller, share):
    """G4, sealed: a copy of everything, vault and all, holds none of the secrets that open a file."""
    claimed = run(claim_sealed(resources, share))
    assert run(fetch_sealed(resources, share, claimed)) == CONTENT
    stored = everything_stored(resources) + repr(log_of(resources)).encode()
    for secret in (share.link_secret, share.transfer.key, share.transfer.client_key, CONTENT[:20], NAME.encode()):
        assert secret not in stored


def test_several_files_keep_their_numbers_and_several_recipients_their_keys(resources, caller, transfer):
    async def story():
        for number in range(3):
            content = f"file {number}".encode()
            await deposit_sealed(resources, caller, transfer, ciphertext(transfer, content, number), number=number)
        issued = [await prepare(resources, caller, transfer) for _ in range(2)]
        for share in issued:
            let_claim(resources, caller, share)
            claimed = await claim_sealed(resources, share)
            for number in range(3):
                assert await fetch_sealed(resources, share, claimed, number) == f"file {number}".encode()
        assert share_wrap(issued[0]) != share_wrap(issued[1])

    run(story())


def test_the_log_tells_the_same_of_sealed_acts(resources, caller, signing):
    share = send_sealed(resources, caller)
    claimed = run(claim_sealed(resources, share))
    run(fetch_sealed(resources, share, claimed))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep(resources)
    plain = ["transfer.created", "file.deposited", "share.issued", "share.claimed", "file.fetched", "share.completed"]
    told = events_of(resources, transfer=share.transfer.id)
    assert [event for event in told if event != "share.prepared"][: len(plain)] == plain
    assert told.index("share.prepared") == told.index("share.issued") - 1
    assert told[-4:] == ["transfer.denied", "keys.destroyed", "bytes.deleted", "transfer.deleted"]
    for event in ("transfer.created", "file.deposited", "share.prepared", "share.issued"):
        (entry,) = log_of(resources, transfer=share.transfer.id, event=event)
        assert entry["sealed"] is True
    (issued,) = log_of(resources, event="share.issued")
    assert (issued["files"], issued["size"], issued["share"]) == (1, len(CONTENT), share.id)
    assert verify_log(resources, signing).problem is None


# The depositor's key


def test_the_depositor_finds_the_transfer_key_again(resources, caller, transfer):
    kept = show_owner_key(resources, caller, transfer.id)
    assert kept.owner_part == transfer.created.owner_part
    assert kept.wrapped_key is not None
    found = sealing.unwrap_for_owner(
        kept.wrapped_key, client_key=transfer.client_key, owner_part=kept.owner_part, transfer_id=transfer.id
    )
    assert found == transfer.key


def test_a_program_that_died_before_it_stored_its_key_can_go_on(resources, caller):
    transfer = a_sealed_transfer(resources, caller, keyed=False)
    kept = show_owner_key(resources, caller, transfer.id)
    assert (kept.owner_part, kept.wrapped_key) == (transfer.created.owner_part, None)
    store_owner_key(resources, caller, transfer.id, owner_wrap(transfer))
    assert show_owner_key(resources, caller, transfer.id).wrapped_key is not None


def test_the_owners_key_is_set_once(resources, caller, transfer):
    """A replayed or stolen token must not lock the depositor out of a transfer."""
    before = show_owner_key(resources, caller, transfer.id).wrapped_key
    for wrapped in (before or b"", owner_wrap(transfer)):
        with pytest.raises(KeyAlreadySet):
            store_owner_key(resources, caller, transfer.id, wrapped)
    assert show_owner_key(resources, caller, transfer.id).wrapped_key == before


def test_the_owners_key_of_an_ended_transfer_is_neither_kept_nor_shown(resources, caller, transfer):
    delete_transfer(resources, transfer.id, caller=caller)
    with pytest.raises(TransferEnded):
        show_owner_key(resources, caller, transfer.id)
    with pytest.raises(TransferEnded):
        store_owner_key(resources, caller, transfer.id, owner_wrap(transfer))
    assert transfer_row(resources, transfer.id).owner_wrap is None


def test_editing_the_expiry_does_not_bring_the_owners_part_back(resources, caller, transfer, time):
    """G1: the vault has its own expiry."""
    expires_at = transfer.created.expires_at
    time.pass_until(expires_at)
    change(resources, transfers, transfer.id, expires_at=expires_at.replace(year=2036))
    with pytest.raises(TransferEnded):
        show_owner_key(resources, caller, transfer.id)


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
    assert_nothing_left(resources, transfer)


@pytest.mark.parametrize("length", [0, 1, 71, 72, 56 + 16_400, sealed_size(MAX_JSON_BYTES + 1), 60_000])
def test_a_sealed_name_of_the_wrong_length_is_refused(resources, caller, transfer, length):
    with pytest.raises(InvalidRequest):
        run(deposit_sealed(resources, caller, transfer, sealed_meta=bytes(length)))
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(resources, transfer)
    assert run(deposit_sealed(resources, caller, transfer)) == len(CONTENT)


def test_a_killed_upload_is_removed_by_the_sweeper(resources, caller, transfer, time):
    abandon_upload(resources, caller, transfer.id, sealed=True)
    assert len(files_of(resources, transfer.id)) == 1
    time.pass_by(intake.LEASE)
    sweep(resources)
    assert_nothing_left(resources, transfer)
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
    assert_nothing_left(small, transfer)
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
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(resources, transfer)


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
    assert_nothing_left(full, transfer)


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


# Two kinds that do not mix


def test_a_sealed_transfer_takes_nothing_plain(resources, caller, filled):
    plain = a_transfer(resources, caller)
    disguised = replace(plain, id=filled.id)
    with pytest.raises(TransferIsSealed):
        run(deposit(resources, caller, disguised))
    with pytest.raises(TransferIsSealed):
        run(issue(resources, caller, disguised))
    assert len(files_of(resources, filled.id)) == 1
    assert count_rows(resources, shares) == 0


def test_an_unsealed_transfer_takes_nothing_sealed(resources, caller):
    plain = send(resources, caller)
    sealed = a_sealed_transfer(resources, caller)
    disguised = replace(sealed, created=replace(sealed.created, id=plain.id))
    for step in (
        lambda: run(deposit_sealed(resources, caller, disguised)),
        lambda: run(prepare(resources, caller, disguised)),
        lambda: store_owner_key(resources, caller, plain.id, bytes(60)),
        lambda: show_owner_key(resources, caller, plain.id),
        lambda: open_share(resources, caller, plain.share.id, wrapped_key=bytes(60), link_proof=bytes(32)),
    ):
        with pytest.raises(TransferNotSealed):
            step()
    assert share_row(resources, plain.share.id).state == ShareState.ISSUED


def test_a_link_secret_redeems_nothing_and_spends_no_attempt(resources, share):
    for password in (share.password, WRONG_PASSWORD):
        presented = LinkAndPassword.by_secret(share.link_secret, password, None, ADDRESS)
        with pytest.raises(TransferIsSealed):
            run(claim_share(resources, share.id, presented))
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)
    assert run(claim_sealed(resources, share)).server_part is not None


def test_the_server_decrypts_no_file_of_a_claim_by_proof(resources, share):
    claimed = run(claim_sealed(resources, share))
    with pytest.raises(ClaimedByProof):
        run(
            open_files(
                resources, claim_id=claimed.claim_id, token=claimed.token, numbers=[0], decrypted=True, address=ADDRESS
            )
        )


# Shares


def test_a_share_needs_a_file_whole_and_the_owners_key(resources, caller):
    bare = a_sealed_transfer(resources, caller, keyed=False)
    with pytest.raises(TransferEmpty):
        run(prepare(resources, caller, bare))
    run(deposit_sealed(resources, caller, bare))
    with pytest.raises(OwnerKeyMissing):
        run(prepare(resources, caller, bare))
    assert count_rows(resources, shares) == 0
    assert transfer_row(resources, bare.id).closed_at is None
    store_owner_key(resources, caller, bare.id, owner_wrap(bare))
    assert run(prepare(resources, caller, bare)).id
    with pytest.raises(TransferClosed):
        run(deposit_sealed(resources, caller, bare, number=1))


@pytest.mark.parametrize("password", ["", "short", "0123-4567-89AB-CDEU", "0123456789ABCDEF0", "Élan-4567-89AB-CDEF"])
def test_a_password_must_be_well_formed(resources, caller, filled, password):
    with pytest.raises(MalformedPassword):
        run(prepare_share(resources, caller, NewShare(filled.id, "Agency"), password=password))
    assert count_rows(resources, shares) == 0


def test_a_password_works_however_it_was_written_at_either_end(resources, caller, filled):
    share = run(prepare(resources, caller, filled, password="o1lz 2345-6789 abcd"))
    let_claim(resources, caller, share)
    assert run(claim_sealed(resources, share, password="011Z-2345-6789-ABCD")).server_part is not None


def test_the_password_is_part_of_the_key_and_not_only_asked_for(resources, share):
    """G3: five wrong ones lock the share, and its keys are gone."""
    for _ in range(5):
        with pytest.raises(WrongPassword):
            run(claim_sealed(resources, share, password=WRONG_PASSWORD))
    with pytest.raises(ShareLocked):
        run(claim_sealed(resources, share))
    names = {name.share_id for name in keys_held(resources)}
    assert share.id not in names


def test_a_prepared_share_is_unknown_to_recipients(resources, caller, prepared):
    """The same answer as for any link that opens nothing, whatever is presented, and nothing is spent."""
    for proof in (link_proof(prepared.link_secret), bytes(32), new_secret()):
        with pytest.raises(ShareNotFound):
            look_at_share(resources, prepared.id, proof)
        with pytest.raises(ShareNotFound):
            run(claim_share(resources, prepared.id, LinkAndPassword(proof, None, prepared.password, None, ADDRESS)))
    assert share_row(resources, prepared.id).attempts == 0
    let_claim(resources, caller, prepared)
    assert look_at_share(resources, prepared.id, link_proof(prepared.link_secret)).sealed is True


def test_a_prepared_share_yields_nothing_though_every_check_says_yes(resources, prepared, monkeypatch):
    """Lesson 20, G3."""
    for module in ("actions.claim_share", "lifecycle.claimable_share", "lifecycle.secret_lookup"):
        monkeypatch.setattr(f"app.{module}.same", lambda _a, _b: True)
    monkeypatch.setattr(share_rules, "refusal", lambda _state: None)
    with pytest.raises(Refusal):
        run(claim_share(resources, prepared.id, by_proof(prepared)))
    assert share_row(resources, prepared.id).state == ShareState.PREPARED


def test_a_share_is_opened_once(resources, caller, prepared):
    """A replay, or somebody with the depositor's token, cannot put another link or key in the place of the first."""
    let_claim(resources, caller, prepared)
    before = share_row(resources, prepared.id)
    other = replace(prepared, link_secret=new_secret())
    for again in (prepared, other):
        with pytest.raises(KeyAlreadySet):
            let_claim(resources, caller, again)
    assert share_row(resources, prepared.id) == before
    with pytest.raises(ShareNotFound):
        run(claim_sealed(resources, other))
    claimed = run(claim_sealed(resources, prepared))
    with pytest.raises(KeyAlreadySet):
        let_claim(resources, caller, other)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    with pytest.raises(ShareUsed):
        let_claim(resources, caller, other)


def test_of_many_keys_at_once_one_opens_the_share(resources, caller, prepared):
    candidates = [replace(prepared, link_secret=new_secret()) for _ in range(8)]

    def attempt(candidate):
        try:
            let_claim(resources, caller, candidate)
        except KeyAlreadySet:
            return None
        return candidate

    with ThreadPoolExecutor(8) as threads:
        winners = [winner for winner in threads.map(attempt, candidates) if winner]
    assert len(winners) == 1
    assert events_of(resources, event="share.issued") == ["share.issued"]
    claimed = run(claim_sealed(resources, winners[0]))
    assert opened(winners[0], claimed) == prepared.transfer.key


def test_of_claims_at_once_one_wins(resources, share):
    """Lesson 13, by proof."""

    async def story():
        return await asyncio.gather(*(claim_sealed(resources, share) for _ in range(10)), return_exceptions=True)

    answers = run(story())
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {ShareUsed}


# Other people's


def test_another_depositor_finds_none_of_it(resources, caller, filled, prepared):
    """Lesson 30."""
    other = a_caller(resources, name="colleague")
    for step in (
        lambda: run(deposit_sealed(resources, other, filled, number=1)),
        lambda: run(prepare(resources, other, filled)),
        lambda: store_owner_key(resources, other, filled.id, owner_wrap(filled)),
        lambda: show_owner_key(resources, other, filled.id),
    ):
        with pytest.raises(TransferNotFound):
            step()
    with pytest.raises(ShareNotFound):
        let_claim(resources, other, prepared)
    let_claim(resources, caller, prepared)


# Ends


def test_a_completed_sealed_transfer_is_deleted_at_once(resources, share):
    claimed = run(claim_sealed(resources, share))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep(resources)
    row = transfer_row(resources, share.transfer.id)
    assert (row.state, row.owner_wrap) == (TransferState.VERIFIED, None)
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    assert {file.sealed_meta for file in files_of(resources, share.transfer.id)} == {None}
    assert share_row(resources, share.id).wrapped_key is None


@pytest.mark.parametrize("how", ["expired", "deleted"])
def test_a_prepared_share_ends_with_its_transfer(resources, caller, prepared, time, how):
    """A program that died between preparing and opening leaves nothing dangling."""
    if how == "expired":
        time.pass_until(prepared.prepared.expires_at)
        with pytest.raises(ShareExpired):
            let_claim(resources, caller, prepared)
    else:
        delete_transfer(resources, prepared.transfer.id, caller=caller)
    sweep(resources)
    state = {"expired": ShareState.EXPIRED, "deleted": ShareState.WITHDRAWN}[how]
    assert share_row(resources, prepared.id).state == state
    assert share_row(resources, prepared.id).keys_destroyed_at is not None
    assert transfer_row(resources, prepared.transfer.id).state == TransferState.VERIFIED
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    assert f"share.{state}" in events_of(resources, share=prepared.id)
    with pytest.raises({"expired": ShareExpired, "deleted": ShareWithdrawn}[how]):
        let_claim(resources, caller, prepared)


def test_a_prepared_share_can_be_withdrawn_and_another_issued(resources, caller, prepared):
    withdraw_share(resources, prepared.id, caller=caller)
    assert prepared.id not in {name.share_id for name in keys_held(resources)}
    with pytest.raises(ShareWithdrawn):
        let_claim(resources, caller, prepared)
    with pytest.raises(ShareNotFound):
        look_at_share(resources, prepared.id, link_proof(prepared.link_secret))
    sweep(resources)
    assert share_row(resources, prepared.id).keys_destroyed_at is not None
    again = run(prepare(resources, caller, prepared.transfer))
    let_claim(resources, caller, again)
    claimed = run(claim_sealed(resources, again))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep(resources)
    assert transfer_row(resources, prepared.transfer.id).state == TransferState.VERIFIED


def test_a_prepared_share_holds_the_early_end_up_until_it_is_withdrawn(resources, caller, filled):
    """Its recipient has been promised something, for all the server knows."""

    async def story():
        return [await prepare(resources, caller, filled) for _ in range(2)]

    done, waiting = run(story())
    let_claim(resources, caller, done)
    claimed = run(claim_sealed(resources, done))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep(resources)
    assert transfer_row(resources, filled.id).state == TransferState.LIVE
    withdraw_share(resources, waiting.id, caller=caller)
    sweep(resources)
    assert transfer_row(resources, filled.id).state == TransferState.VERIFIED


def test_a_share_whose_key_did_not_get_into_the_vault_is_ended(resources, caller, filled, monkeypatch):
    def refuse(name, key):
        raise VaultUnavailable("I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(resources.vault, "create", refuse)
        with pytest.raises(Refusal):
            run(prepare(resources, caller, filled))
    (share_id,) = {entry["share"] for entry in log_of(resources, event="share.prepared")}
    assert share_row(resources, share_id).state == ShareState.WITHDRAWN
    assert events_of(resources, share=share_id) == ["share.prepared", "share.withdrawn"]


class Died(BaseException):
    """The process is gone in the middle of a step."""


@pytest.mark.parametrize("point", ["share.row_written", "share.key_stored"])
def test_a_crash_between_a_prepared_share_and_its_key_leaves_nothing_dangling(resources, caller, filled, time, point):
    def die():
        raise Died

    with on_reach(point, die), pytest.raises(Died):
        run(prepare(resources, caller, filled))
    (share_id,) = {entry["share"] for entry in log_of(resources, event="share.prepared")}
    assert share_row(resources, share_id).state == ShareState.PREPARED
    assert [look.orphans for look in reconcile(resources)] == [0, 0, 0]
    time.pass_until(filled.created.expires_at)
    sweep(resources)
    assert share_row(resources, share_id).state == ShareState.EXPIRED
    assert share_row(resources, share_id).keys_destroyed_at is not None
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())


def test_reconciliation_leaves_sealed_transfers_and_prepared_shares_alone(resources, caller, prepared, share, time):
    time.pass_by(2 * resources.settings.orphan_grace)
    assert [look.orphans for look in reconcile(resources)] == [0, 0, 0]
    let_claim(resources, caller, prepared)
    for each in (prepared, share):
        assert run(fetch_sealed(resources, each, run(claim_sealed(resources, each)))) == CONTENT


def test_a_sealed_transfer_whose_bytes_are_gone_is_ended_by_reconciliation(resources, caller, share, time):
    (file,) = files_of(resources, share.transfer.id)
    blob_path(resources, file.blob_id).unlink()
    time.pass_by(2 * resources.settings.orphan_grace)
    assert {look.what: look.destroyed for look in reconcile(resources)}["rows"] == 1
    sweep(resources)
    assert transfer_row(resources, share.transfer.id).state == TransferState.VERIFIED
    assert keys_held(resources) == set()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_accepted_restore_withdraws_prepared_shares_too(resources, caller, signing, prepared):
    assert accept_restore(resources, signing).withdrawn == 1
    lift_lockdown(resources.database, resources.clock)
    assert share_row(resources, prepared.id).state == ShareState.WITHDRAWN
    with pytest.raises(ShareWithdrawn):
        let_claim(resources, caller, prepared)


def test_the_vaults_own_purge_ends_a_sealed_transfer_without_the_database(resources, caller, share, time):
    """G1: the second of the three mechanisms."""
    time.pass_until(share.prepared.expires_at)
    resources.vault.purge(resources.clock.now())
    assert keys_held(resources) == set()
    change(resources, transfers, share.transfer.id, expires_at=time.moment + HOUR)
    change(resources, shares, share.id, expires_at=time.moment + HOUR)
    with pytest.raises(ShareExpired):
        run(claim_sealed(resources, share))
    assert EntryName(share.transfer.id, share.prepared.expires_at) not in keys_held(resources)
