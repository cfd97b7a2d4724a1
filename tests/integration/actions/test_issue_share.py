"""Issuing a share: shown once, kept nowhere, and every reason not to."""

import asyncio
from dataclasses import replace

import pytest

from app.actions import issue_share as issue_share_module
from app.actions.create_transfer import CreatedTransfer
from app.actions.delete_transfer import delete_transfer
from app.actions.look_at_share import look_at_share
from app.crypto.password import normalise
from app.crypto.token import new_id, new_secret
from app.crypto.wrapping import link_proof
from app.db.tables import shares, transfers
from app.domain.errors import (
    Busy,
    InvalidRequest,
    ShareNotFound,
    ShareWithdrawn,
    TransferEmpty,
    TransferEnded,
    TransferIsSealed,
    TransferNotFound,
    UploadUnfinished,
    VaultOutOfReach,
    WrongClientKey,
)
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.runtime.hashing_queue import HashingQueue
from app.storage.errors import VaultUnavailable
from tests.integration.actions.stories import (
    ADDRESS,
    a_caller,
    a_transfer,
    change,
    claim,
    count_rows,
    deposit,
    events_of,
    everything_stored,
    issue,
    keys_held,
    log_of,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)


@pytest.fixture
def transfer(resources, caller):
    """A transfer with one file, not yet shared."""
    made = a_transfer(resources, caller, label="From the laboratory")
    run(deposit(resources, caller, made))
    return made


def test_a_share_is_a_link_and_a_password_and_a_key_of_its_own(resources, caller, transfer, time):
    share = run(issue(resources, caller, transfer))
    row = share_row(resources, share.id)
    assert (row.state, row.recipient, row.expires_at) == (ShareState.ISSUED, "Agency, Ms Durand", transfer.expires_at)
    assert (row.argon2_time, row.argon2_memory_kib, row.argon2_lanes) == (1, 64, 1)
    assert EntryName(transfer.id, transfer.expires_at, share.id) in keys_held(resources)
    assert len(share.link_secret) == 32
    assert len(normalise(share.password)) == 16
    assert transfer_row(resources, transfer.id).closed_at == time()


def test_its_secrets_are_kept_nowhere_and_shown_in_no_repr(resources, caller, transfer):
    """Lesson 34."""
    share = run(issue(resources, caller, transfer))
    stored = everything_stored(resources)
    for secret in (share.link_secret, share.password.encode(), normalise(share.password).encode()):
        assert secret not in stored
    assert share.password not in repr(share)
    assert repr(share.link_secret) not in repr(share)


def test_it_is_logged_without_its_recipient(resources, caller, transfer):
    """Lesson 36."""
    share = run(issue(resources, caller, transfer, "CANARY"))
    (entry,) = log_of(resources, event="share.issued")
    assert (entry["share"], entry["transfer"], entry["files"]) == (share.id, transfer.id, 1)
    assert "CANARY" not in str(log_of(resources))


def test_every_recipient_has_a_share_of_their_own(resources, caller, transfer):
    async def story():
        return [await issue(resources, caller, transfer, f"recipient {each}") for each in range(3)]

    issued = run(story())
    for field in ("id", "link_secret", "password"):
        assert len({getattr(share, field) for share in issued}) == 3
    crossed = replace(issued[0], password=issued[1].password)
    with pytest.raises(Exception, match="password is wrong"):
        run(claim(resources, crossed))


def test_looking_redeems_nothing(resources, caller, transfer):
    """Lesson 14: a link scanner that clicks everything, a thousand times."""
    share = run(issue(resources, caller, transfer))
    proof = link_proof(share.link_secret)
    for _ in range(20):
        seen = look_at_share(resources, share.id, proof)
    assert (seen.state, seen.label, seen.attempts_left, seen.used_at, seen.sealed) == (
        ShareState.ISSUED,
        "From the laboratory",
        5,
        None,
        False,
    )
    assert seen.expires_at == transfer.expires_at
    assert share_row(resources, share.id).attempts == 0


def test_looking_at_an_expired_share_says_so_before_any_sweep(resources, caller, transfer, time):
    share = run(issue(resources, caller, transfer))
    time.pass_until(transfer.expires_at)
    assert look_at_share(resources, share.id, link_proof(share.link_secret)).state == ShareState.EXPIRED


def test_looking_without_the_link_finds_nothing_whether_or_not_the_share_is_there(resources, caller, transfer):
    share = run(issue(resources, caller, transfer))
    for share_id, proof in (
        (share.id, new_secret()),
        (share.id, b""),
        (new_id(), link_proof(share.link_secret)),
        (transfer.id, link_proof(share.link_secret)),
        ("\0", new_secret()),
    ):
        with pytest.raises(ShareNotFound):
            look_at_share(resources, share_id, proof)


# Refusals


@pytest.mark.parametrize("recipient", ["", "   ", "two\nlines", "x" * 201, "a\u202eb"])
def test_a_share_is_for_somebody(resources, caller, transfer, recipient):
    with pytest.raises(InvalidRequest):
        run(issue(resources, caller, transfer, recipient))
    assert count_rows(resources, shares) == 0


def test_only_its_depositor_shares_a_transfer(resources, transfer):
    """Lesson 30."""
    with pytest.raises(TransferNotFound):
        run(issue(resources, a_caller(resources), transfer))


@pytest.mark.parametrize("transfer_id", ["A" * 22, "", "\0" * 22])
def test_a_transfer_that_is_not_there_cannot_be_shared(resources, caller, transfer_id):
    with pytest.raises(TransferNotFound):
        run(issue(resources, caller, CreatedTransfer(transfer_id, new_secret(), None)))  # type: ignore[arg-type]


def test_a_wrong_client_key_shares_nothing(resources, caller, transfer):
    """G4: whoever holds the server cannot hand out what it stores."""
    with pytest.raises(WrongClientKey):
        run(issue(resources, caller, replace(transfer, client_key=new_secret())))
    assert count_rows(resources, shares) == 0


def test_a_transfer_without_a_file_cannot_be_shared(resources, caller):
    with pytest.raises(TransferEmpty):
        run(issue(resources, caller, a_transfer(resources, caller)))


def test_a_transfer_with_an_unfinished_upload_cannot_be_shared(resources, caller, transfer):
    async def story():
        async def shares_meanwhile():
            yield b"x"
            with pytest.raises(UploadUnfinished):
                await issue(resources, caller, transfer)
            yield b"y"

        await deposit(resources, caller, transfer, shares_meanwhile())
        return await issue(resources, caller, transfer)

    assert run(story()).transfer_id == transfer.id


def test_an_upload_that_begins_while_the_password_is_hashed_is_not_overlooked(resources, caller, transfer, monkeypatch):
    """Looked at again in the transaction that closes the transfer."""
    waits, hashed = asyncio.Event(), HashingQueue.stretch

    async def story():
        started, may_end = asyncio.Event(), asyncio.Event()

        async def uploads():
            yield b"x"
            started.set()
            await may_end.wait()

        async def late(self, *given):
            waits.set()
            await started.wait()
            return await hashed(self, *given)

        monkeypatch.setattr(HashingQueue, "stretch", late)
        issuing = asyncio.create_task(issue(resources, caller, transfer))
        await waits.wait()
        upload = asyncio.create_task(deposit(resources, caller, transfer, uploads()))
        with pytest.raises(UploadUnfinished):
            await issuing
        may_end.set()
        await upload

    run(story())
    assert count_rows(resources, shares) == 0
    assert transfer_row(resources, transfer.id).closed_at is None


def test_a_sealed_transfer_is_not_shared_by_the_server(resources, caller, transfer):
    change(resources, transfers, transfer.id, sealed=True)
    with pytest.raises(TransferIsSealed):
        run(issue(resources, caller, transfer))


def test_an_ended_transfer_cannot_be_shared(resources, caller, transfer):
    delete_transfer(resources, transfer.id, caller=caller)
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, transfer))


def test_an_expired_transfer_cannot_be_shared_whatever_the_sweeper_does(resources, caller, transfer, time):
    """Lesson 1."""
    time.pass_until(transfer.expires_at)
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, transfer))


def test_a_transfer_whose_expiry_was_edited_cannot_be_shared(resources, caller, transfer, time):
    """G1: editing the database extends nothing; the vault files the key under the expiry it had."""
    time.pass_until(transfer.expires_at)
    change(resources, transfers, transfer.id, expires_at=transfer.expires_at.replace(year=2036))
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, transfer))


def test_a_full_queue_says_so_and_holds_up_nobody(resources, caller, transfer):
    """Lesson 31: guessing cannot exhaust memory; it gets Busy."""
    small = replace(resources, issuing=HashingQueue(waiting=0))

    async def story():
        async with small.issuing.turn(caller.actor):
            with pytest.raises(Busy):
                await issue(small, caller, transfer)
        return await issue(small, caller, transfer)

    assert run(story()).transfer_id == transfer.id


def test_a_crowd_of_guessers_does_not_keep_depositors_waiting(resources, caller, transfer):
    """Issuing has a queue of its own."""
    sent = send(resources, caller)
    guessing = replace(resources, claiming=HashingQueue(waiting=0))

    async def story():
        async with guessing.claiming.turn(ADDRESS):
            with pytest.raises(Busy):
                await claim(guessing, sent.share)
            return await issue(guessing, caller, transfer)

    assert run(story()).transfer_id == transfer.id


def test_without_the_key_vault_nothing_is_issued(resources, caller, transfer):
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultOutOfReach):
        run(issue(resources, caller, transfer))
    assert count_rows(resources, shares) == 0
    assert transfer_row(resources, transfer.id).closed_at is None


def test_a_share_whose_key_did_not_get_into_the_vault_is_ended(resources, caller, transfer, monkeypatch):
    """The row is written first: it must not stand without its key."""

    def refuse(name, key):
        raise VaultUnavailable("I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(resources.vault, "create", refuse)
        with pytest.raises(VaultOutOfReach):
            run(issue(resources, caller, transfer))
    (share_id,) = {entry["share"] for entry in log_of(resources, event="share.issued")}
    row = share_row(resources, share_id)
    assert (row.state, row.wrapped_key) == (ShareState.WITHDRAWN, None)
    assert events_of(resources, share=share_id) == ["share.issued", "share.withdrawn"]
    assert transfer_row(resources, transfer.id).state == TransferState.LIVE
    sweep(resources)
    assert share_row(resources, share_id).keys_destroyed_at is not None
    assert run(issue(resources, caller, transfer)).transfer_id == transfer.id


def test_a_withdrawn_share_is_refused_with_its_reason(resources, caller, transfer):
    share = run(issue(resources, caller, transfer))
    change(resources, shares, share.id, state=ShareState.WITHDRAWN)
    with pytest.raises(ShareWithdrawn):
        run(claim(resources, share))


# What ends while a share is issued


def test_a_transfer_that_ends_before_the_key_is_stored_leaves_no_key(resources, caller, transfer, monkeypatch):
    """The sweep that looked for the share's key had looked before it was there."""

    def end(point):
        if point == "share.row_written":
            delete_transfer(resources, transfer.id, caller=caller)
            sweep(resources)

    monkeypatch.setattr(issue_share_module, "reach", end)
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, transfer))
    assert transfer_row(resources, transfer.id).state == TransferState.VERIFIED
    assert keys_held(resources) == set()


def test_a_transfer_that_expires_while_the_password_is_hashed_gets_no_share(
    resources, caller, transfer, time, monkeypatch
):
    stretch = HashingQueue.stretch

    async def slowly(*given):
        time.pass_until(transfer.expires_at)
        return await stretch(*given)

    monkeypatch.setattr(HashingQueue, "stretch", slowly)
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, transfer))
    assert count_rows(resources, shares) == 0
