"""Completing, withdrawing, deleting: what ends ends once, its keys with it, and nothing else does."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.db.tables import claims, shares
from app.domain.access_token import Role
from app.domain.errors import ClaimNotFound, ShareNotFound, TransferNotFound
from app.domain.share import ShareState
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.runtime.resources import Resources
from app.storage.errors import VaultUnavailable
from tests.integration.actions.stories import (
    ADDRESS,
    WRONG_PASSWORD,
    a_caller,
    a_transfer,
    change,
    claim,
    claim_row,
    deposit,
    events_of,
    files_of,
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


def complete(resources, claimed, **changes):
    given = replace(claimed, **changes)
    complete_claim(resources, claim_id=given.claim_id, token=given.token, address=ADDRESS)


# Completing


def test_completing_ends_share_and_transfer_with_their_keys_at_once(resources, sent, time):
    claimed = run(claim(resources, sent.share))
    complete(resources, claimed)
    row, transfer = share_row(resources, sent.share.id), transfer_row(resources, sent.id)
    assert (row.state, row.ended_at, row.wrapped_key) == (ShareState.COMPLETED, time(), None)
    assert claim_row(resources, sent.share.id).wrapped_key is None
    assert (transfer.state, transfer.ending, transfer.owner_wrap, transfer.due_at) == (
        TransferState.DENIED,
        Ending.COMPLETED,
        None,
        time(),
    )
    assert {file.sealed_meta for file in files_of(resources, sent.id)} == {None}
    assert keys_held(resources) == set()
    assert events_of(resources, transfer=sent.id)[-2:] == ["share.completed", "transfer.denied"]


def test_completing_again_changes_nothing(resources, sent):
    claimed = run(claim(resources, sent.share))
    complete(resources, claimed)
    rows, entries = (share_row(resources, sent.share.id), transfer_row(resources, sent.id)), log_of(resources)
    complete(resources, claimed)
    assert (share_row(resources, sent.share.id), transfer_row(resources, sent.id)) == rows
    assert log_of(resources) == entries


def test_completing_what_ended_otherwise_changes_nothing(resources, caller, sent):
    claimed = run(claim(resources, sent.share))
    withdraw_share(resources, sent.share.id, caller=caller)
    complete(resources, claimed)
    assert share_row(resources, sent.share.id).state == ShareState.WITHDRAWN
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


@pytest.mark.parametrize("delivered", [False, True])
def test_completing_after_the_window_ends_a_share_as_its_window_does(resources, sent, time, delivered):
    """No sweep has passed yet: who asks first must not decide how it ended."""
    claimed = run(claim(resources, sent.share))
    change(resources, claims, claimed.claim_id, delivered_at=time() if delivered else None)
    time.pass_until(claim_row(resources, sent.share.id).window_until)
    complete(resources, claimed)
    ended = ShareState.COMPLETED if delivered else ShareState.LAPSED
    assert share_row(resources, sent.share.id).state == ended
    assert events_of(resources, share=sent.share.id)[-1] == f"share.{ended.value}"
    assert EntryName(sent.id, sent.share.expires_at, sent.share.id) not in keys_held(resources)


def test_completing_after_the_expiry_ends_a_share_as_expired(resources, caller, time):
    """The transfer is the sweeper's, which ends it as expired, too."""
    sent = send(resources, caller, lifetime=timedelta(minutes=10))
    claimed = run(claim(resources, sent.share))
    time.pass_until(sent.share.expires_at)
    complete(resources, claimed)
    assert share_row(resources, sent.share.id).state == ShareState.EXPIRED
    assert sweep(resources).deleted == 1
    assert transfer_row(resources, sent.id).ending == Ending.EXPIRED
    assert events_of(resources, event="share.expired") == ["share.expired"]


def test_only_the_claims_own_token_completes_it(resources, caller, sent):
    claimed = run(claim(resources, sent.share))
    other = run(claim(resources, send(resources, caller).share))
    for changes in ({"token": new_secret()}, {"token": other.token}, {"claim_id": new_id()}, {"claim_id": "\0"}):
        with pytest.raises(ClaimNotFound):
            complete(resources, claimed, **changes)
    assert share_row(resources, sent.share.id).state == ShareState.CLAIMED


def test_who_asked_to_keep_it_keeps_it_until_its_expiry(resources, caller):
    sent = send(resources, caller, keep_until_expiry=True)
    complete(resources, run(claim(resources, sent.share)))
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    record = EntryName(sent.id, sent.share.expires_at, sent.share.id).of_claim
    assert keys_held(resources) == {EntryName(sent.id, sent.transfer.expires_at), record}
    assert run(issue(resources, caller, sent.transfer)).transfer_id == sent.id


# The rule of early deletion, through the actions

ENDS = ["issued", "claimed", "completed", "withdrawn", "locked"]


def end(resources, caller, share, how):
    if how == "withdrawn":
        withdraw_share(resources, share.id, caller=caller)
    elif how == "locked":
        change(resources, shares, share.id, failures=4, attempts=4)
        with pytest.raises(Exception, match="wrong"):
            run(claim(resources, share, password=WRONG_PASSWORD))
    elif how in {"claimed", "completed"}:
        claimed = run(claim(resources, share))
        if how == "completed":
            complete(resources, claimed)


@pytest.mark.parametrize(("first", "second"), list(product(ENDS, ENDS)))
def test_a_transfer_goes_early_once_somebody_has_it_and_nobody_waits(resources, caller, first, second):
    """docs/http-api.md, whichever comes last."""
    transfer = a_transfer(resources, caller)

    async def two():
        await deposit(resources, caller, transfer)
        return [await issue(resources, caller, transfer, each) for each in ("one", "two")]

    issued = run(two())
    for share, how in zip(issued, (first, second), strict=True):
        end(resources, caller, share, how)
    assert [share_row(resources, share.id).state for share in issued] == [first, second]
    early = {first, second} in ({"completed"}, {"completed", "withdrawn"})
    assert transfer_row(resources, transfer.id).state == (TransferState.DENIED if early else TransferState.LIVE)
    kept = {EntryName(transfer.id, transfer.expires_at)} - (
        {EntryName(transfer.id, transfer.expires_at)} if early else set()
    )
    kept |= {
        EntryName(transfer.id, transfer.expires_at, share.id)
        for share, how in zip(issued, (first, second), strict=True)
        if how in {"issued", "claimed"}
    }
    kept |= {
        EntryName(transfer.id, transfer.expires_at, share.id).of_claim
        for share, how in zip(issued, (first, second), strict=True)
        if how in {"claimed", "completed"} and not early
    }
    assert keys_held(resources) == kept


# Withdrawing


def test_withdrawing_ends_a_share_and_leaves_the_transfer(resources, caller, sent):
    withdraw_share(resources, sent.share.id, caller=caller)
    row = share_row(resources, sent.share.id)
    assert (row.state, row.wrapped_key) == (ShareState.WITHDRAWN, None)
    assert keys_held(resources) == {EntryName(sent.id, sent.transfer.expires_at)}
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    assert run(claim(resources, run(issue(resources, caller, sent.transfer)))).transfer_id == sent.id


def test_withdrawing_is_idempotent(resources, caller, sent):
    withdraw_share(resources, sent.share.id, caller=caller)
    before = share_row(resources, sent.share.id)
    withdraw_share(resources, sent.share.id, caller=caller)
    assert share_row(resources, sent.share.id) == before
    assert events_of(resources, share=sent.share.id).count("share.withdrawn") == 1


def test_only_its_depositor_withdraws_a_share(resources, sent):
    """Lesson 30."""
    for role in Role:
        with pytest.raises(ShareNotFound):
            withdraw_share(resources, sent.share.id, caller=a_caller(resources, role=role))
    for share_id in (new_id(), "", "\0", sent.id):
        with pytest.raises(ShareNotFound):
            withdraw_share(resources, share_id, caller=sent.caller)
    assert share_row(resources, sent.share.id).state == ShareState.ISSUED


def test_the_log_says_who_withdrew(resources, caller, sent):
    other = send(resources, caller)
    withdraw_share(resources, sent.share.id, caller=caller)
    withdraw_share(resources, other.share.id, caller=None)
    assert [entry["actor"] for entry in log_of(resources, event="share.withdrawn")] == [caller.actor, "operator"]


# Deleting


@pytest.mark.parametrize("claimed", [False, True])
def test_deleting_ends_everything_before_it_returns(resources, caller, sent, time, claimed):
    if claimed:
        run(claim(resources, sent.share))
    delete_transfer(resources, sent.id, caller=caller)
    row = transfer_row(resources, sent.id)
    assert (row.state, row.ending, row.denied_at, row.owner_wrap) == (
        TransferState.DENIED,
        Ending.DELETED,
        time(),
        None,
    )
    assert share_row(resources, sent.share.id).state == ShareState.WITHDRAWN
    assert keys_held(resources) == set()


def test_deleting_is_idempotent(resources, caller, sent):
    delete_transfer(resources, sent.id, caller=caller)
    entries = log_of(resources)
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    delete_transfer(resources, sent.id, caller=caller)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert len(log_of(resources, event="transfer.denied")) == 1
    assert log_of(resources)[: len(entries)] == entries


def test_only_its_depositor_deletes_a_transfer(resources, sent):
    """Lesson 30."""
    for role in Role:
        with pytest.raises(TransferNotFound):
            delete_transfer(resources, sent.id, caller=a_caller(resources, role=role))
    for transfer_id in (new_id(), "", "\0", sent.share.id):
        with pytest.raises(TransferNotFound):
            delete_transfer(resources, transfer_id, caller=sent.caller)
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    delete_transfer(resources, sent.id, caller=None)
    assert transfer_row(resources, sent.id).state == TransferState.DENIED


def test_other_transfers_are_left_alone(resources, caller, sent):
    """Lesson 8: no mass deletion."""
    other = send(resources, caller)
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    assert transfer_row(resources, other.id).state == TransferState.LIVE
    assert run(claim(resources, other.share)).transfer_id == other.id


# When the keys resist


@pytest.mark.parametrize("how", ["withdraw", "delete", "complete"])
def test_an_end_is_committed_though_the_vault_is_out_of_reach_and_the_sweeper_finishes(
    resources, caller, sent, how, time
):
    """Lesson 2: refused from now on, and never reads "destroyed" before it is."""
    claimed = run(claim(resources, sent.share))
    with out_of_reach(resources.settings.vault_dir):
        if how == "withdraw":
            withdraw_share(resources, sent.share.id, caller=caller)
        elif how == "delete":
            delete_transfer(resources, sent.id, caller=caller)
        else:
            complete(resources, claimed)
        assert share_row(resources, sent.share.id).keys_destroyed_at is None
        sweep(resources)
        assert share_row(resources, sent.share.id).keys_destroyed_at is None
    assert EntryName(sent.id, sent.transfer.expires_at, sent.share.id) in keys_held(resources)
    time.pass_by(240)
    assert sweep(resources).succeeded
    assert share_row(resources, sent.share.id).keys_destroyed_at == time()
    assert EntryName(sent.id, sent.transfer.expires_at, sent.share.id) not in keys_held(resources)


@pytest.mark.parametrize("how", ["withdraw", "delete"])
def test_ending_again_tries_the_keys_again_and_never_reports_them_gone_unseen(resources, caller, sent, how):
    """Lesson 10. The row says that it has ended; whether its keys are gone is another fact."""

    def is_destroyed():
        if how == "withdraw":
            return withdraw_share(resources, sent.share.id, caller=caller).keys_destroyed
        return delete_transfer(resources, sent.id, caller=caller)

    with out_of_reach(resources.settings.vault_dir):
        assert [is_destroyed(), is_destroyed()] == [False, False]
    assert is_destroyed()
    assert EntryName(sent.id, sent.transfer.expires_at, sent.share.id) not in keys_held(resources)


def test_keys_that_resist_fail_no_request_but_are_loud(resources, caller, sent, monkeypatch):
    said = []

    def refuse(names):
        raise VaultUnavailable("I/O error")

    monkeypatch.setattr(resources.vault, "destroy", refuse)
    say = lambda event, **fields: said.append((event, fields))  # noqa: E731 - patched in for a moment
    monkeypatch.setattr("app.runtime.resources.log.error", say, raising=False)
    assert isinstance(resources, Resources)
    withdraw_share(resources, sent.share.id, caller=caller)
    assert [(event, fields["keys"], fields["alert"]) for event, fields in said] == [("keys_not_destroyed_yet", 1, True)]
