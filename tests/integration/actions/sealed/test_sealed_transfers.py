"""Sealed transfers: the server stores what it cannot open, for its depositor alone."""

import random
from dataclasses import replace

import pytest

from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.fetch_file import open_files
from app.actions.keep_owner_key import show_owner_key, store_owner_key
from app.actions.open_share import ShareKey, open_share
from app.actions.verify_log import verify_log
from app.client import sealing
from app.crypto.chunked import sealed_size
from app.db.tables import shares, transfers
from app.domain.errors import (
    ClaimedByProof,
    ClientGone,
    KeyAlreadySet,
    ShareNotFound,
    TransferEnded,
    TransferIsSealed,
    TransferNotFound,
    TransferNotSealed,
)
from app.domain.share import ShareState
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.reply import Reply
from tests.integration.actions.sealed_stories import (
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
    share_key,
    share_wrap,
)
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    NAME,
    WRONG_PASSWORD,
    a_caller,
    a_transfer,
    blob_path,
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
    assert sealing.open_meta(key, transfer.id, 0, file.sealed_meta).name == NAME


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


def test_a_share_is_not_opened_for_a_client_that_is_gone(resources, caller, filled):
    """Lesson 42: it would be told `key_already_set` when it comes back."""
    prepared = run(prepare(resources, caller, filled))
    with pytest.raises(ClientGone):
        open_share(resources, caller, prepared.id, share_key(prepared), reply=Reply(lambda: True))
    assert share_row(resources, prepared.id).state == ShareState.PREPARED
    let_claim(resources, caller, prepared)
    assert share_row(resources, prepared.id).state == ShareState.ISSUED


def test_an_unsealed_transfer_takes_nothing_sealed(resources, caller):
    plain = send(resources, caller)
    sealed = a_sealed_transfer(resources, caller)
    disguised = replace(sealed, created=replace(sealed.created, id=plain.id))
    for step in (
        lambda: run(deposit_sealed(resources, caller, disguised)),
        lambda: run(prepare(resources, caller, disguised)),
        lambda: store_owner_key(resources, caller, plain.id, bytes(60)),
        lambda: show_owner_key(resources, caller, plain.id),
        lambda: open_share(resources, caller, plain.share.id, ShareKey(bytes(60), bytes(32))),
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
