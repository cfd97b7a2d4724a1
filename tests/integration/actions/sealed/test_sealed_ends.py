"""Sealed transfers and prepared shares end in the same ways as plain ones."""

from datetime import timedelta

import pytest

from app.actions.accept_restore import accept_restore
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.lock_down import lift_lockdown
from app.actions.look_at_share import look_at_share
from app.actions.reconcile import reconcile
from app.actions.withdraw_share import withdraw_share
from app.crypto.wrapping import link_proof
from app.db.tables import shares, transfers
from app.domain.errors import (
    Refusal,
    ShareExpired,
    ShareNotFound,
    ShareWithdrawn,
)
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.runtime.fault_points import on_reach
from app.storage.errors import VaultUnavailable
from tests.integration.actions.sealed_stories import (
    claim_sealed,
    fetch_sealed,
    let_claim,
    prepare,
)
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    blob_path,
    blobs_held,
    change,
    events_of,
    files_of,
    keys_held,
    log_of,
    run,
    share_row,
    sweep,
    transfer_row,
)

HOUR = timedelta(hours=1)


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
