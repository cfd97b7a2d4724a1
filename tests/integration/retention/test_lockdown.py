"""Lockdown: one command stops everything that goes in or out; another destroys every key there is."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from app.actions.check_readiness import check_readiness
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.end_all_transfers import end_all_transfers
from app.actions.lock_down import lift_lockdown, lock_down, lockdown_since
from app.actions.reconcile import reconcile
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.db.errors import DatabaseUnavailable
from app.domain.errors import ClaimEnded, LockedDown, ShareExpired, ShareWithdrawn, TransferEnded
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.runtime.installation import InstallationMismatch, require_vault_not_foreign
from app.runtime.resources import connect
from app.runtime.settings import Settings
from app.storage.vault_folder import VaultFolder
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_transfer,
    blobs_held,
    claim,
    deposit,
    events_of,
    fetch,
    issue,
    keys_held,
    log_of,
    run,
    send,
    sweep,
    transfer_row,
)
from tests.integration.conftest import START
from tests.integration.retention.streams import stalled_download, stalled_upload

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def sent(resources, caller):
    return send(resources, caller, lifetime=3 * HOUR)


def test_every_way_in_and_out_is_refused_and_comes_back(resources, caller, time, sent):
    receiving = a_transfer(resources, caller)
    claimed = run(claim(resources, send(resources, caller).share))
    lock_down(resources.database, resources.clock)
    for step in (
        lambda: a_transfer(resources, caller),
        lambda: run(deposit(resources, caller, receiving)),
        lambda: run(issue(resources, caller, sent.transfer)),
        lambda: run(claim(resources, sent.share)),
        lambda: run(fetch(resources, claimed)),
        lambda: run(fetch(resources, claimed, decrypted=False)),
    ):
        with pytest.raises(LockedDown):
            step()
    assert check_readiness(resources) == ["locked_down"]
    lift_lockdown(resources.database, resources.clock)
    assert check_readiness(resources) == []
    assert run(fetch(resources, claimed)) == CONTENT
    run(claim(resources, sent.share))
    run(deposit(resources, caller, receiving))


def test_a_refused_claim_spends_no_attempt(resources, sent):
    lock_down(resources.database, resources.clock)
    for _ in range(resources.settings.password_attempts):
        with pytest.raises(LockedDown):
            run(claim(resources, sent.share))
    lift_lockdown(resources.database, resources.clock)
    run(claim(resources, sent.share))


def test_every_process_obeys(resources, sent, start_service):
    other = start_service()
    lock_down(resources.database, resources.clock)
    with pytest.raises(LockedDown):
        run(claim(other, sent.share))


@pytest.mark.usefixtures("quick_watch")
def test_a_running_download_is_cut(resources, sent):
    claimed = run(claim(resources, sent.share))
    with pytest.raises(LockedDown):
        run(stalled_download(resources, claimed, lambda: lock_down(resources.database, resources.clock)))
    lift_lockdown(resources.database, resources.clock)
    assert run(fetch(resources, claimed)) == CONTENT


@pytest.mark.usefixtures("quick_watch")
def test_a_running_upload_is_cut_and_leaves_nothing(resources, caller):
    receiving = a_transfer(resources, caller)
    with pytest.raises(LockedDown):
        run(stalled_upload(resources, caller, receiving, lambda: lock_down(resources.database, resources.clock)))
    assert blobs_held(resources) == set()


def test_ending_something_is_never_refused(resources, caller, sent):
    completed, deleted = send(resources, caller), send(resources, caller)
    claimed = run(claim(resources, completed.share))
    lock_down(resources.database, resources.clock)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    withdraw_share(resources, sent.share.id, caller=caller)
    delete_transfer(resources, deleted.id, caller=caller)
    lift_lockdown(resources.database, resources.clock)
    with pytest.raises(ShareWithdrawn):
        run(claim(resources, sent.share))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))
    assert sweep(resources).deleted == 2


def test_expiry_is_never_held_up(resources, time, sent):
    lock_down(resources.database, resources.clock)
    time.pass_until(sent.transfer.expires_at)
    assert sweep(resources).deleted == 1
    assert keys_held(resources) == set()
    assert blobs_held(resources) == set()


def test_locking_and_lifting_twice_is_once(resources, time):
    lift_lockdown(resources.database, resources.clock)
    assert lockdown_since(resources.database) is None
    assert lock_down(resources.database, resources.clock) == START
    time.pass_by(MINUTE)
    assert lock_down(resources.database, resources.clock) == START == lockdown_since(resources.database)
    lift_lockdown(resources.database, resources.clock)
    lift_lockdown(resources.database, resources.clock)
    events = [event for event in events_of(resources) if event.startswith("lockdown.")]
    assert events == ["lockdown.begun", "lockdown.lifted"]


# Every key at once


def destroy_all_keys(resources):
    """As the command does it: the vault first, by itself."""
    vault = VaultFolder(resources.settings.vault_dir)
    destroyed = vault.destroy_everything()
    require_vault_not_foreign(resources.database, vault)
    end_all_transfers(resources.database, resources.clock, destroyed=destroyed)
    return destroyed


def test_without_keys_nothing_can_be_read(resources, caller, sent):
    claimed = run(claim(resources, send(resources, caller).share))
    assert destroy_all_keys(resources) == 5, "four keys, and the record of the claim"
    assert keys_held(resources) == set()
    assert [entry["count"] for entry in log_of(resources, event="keys.all_destroyed")] == [5]
    with pytest.raises(ShareWithdrawn):
        run(claim(resources, sent.share))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, sent.transfer))


def test_every_transfer_ends_with_them_and_the_next_sweep_deletes_the_bytes(resources, caller, time, sent):
    receiving, expired = a_transfer(resources, caller), send(resources, caller, lifetime=MINUTE)
    time.pass_by(2 * MINUTE)  # no sweep has ended it yet
    destroy_all_keys(resources)
    for transfer_id in (sent.id, receiving.id, expired.id):
        row = transfer_row(resources, transfer_id)
        assert (row.state, row.ending, row.owner_wrap) == (TransferState.DENIED, Ending.DELETED, None)
    assert sweep(resources).deleted == 3
    assert blobs_held(resources) == set()


@pytest.fixture
def destroyed_without_the_database(resources, sent):
    """Whoever gives this order must not depend on a database that may be in an attacker's hands."""
    nowhere = SecretStr("postgresql+psycopg://x@127.0.0.1:1/none")
    unreachable = connect(Settings(data_dir=resources.settings.data_dir, database_url=nowhere))
    with pytest.raises(DatabaseUnavailable):
        destroy_all_keys(unreachable)
    unreachable.close()
    return sent


def test_all_keys_go_though_the_database_is_out_of_reach(resources, caller, destroyed_without_the_database):
    assert keys_held(resources) == set()
    with pytest.raises(ShareExpired):
        run(claim(resources, destroyed_without_the_database.share))
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, destroyed_without_the_database.transfer))


def test_the_bytes_then_follow_once_reconciliation_has_seen_that_the_keys_are_gone(
    resources, destroyed_without_the_database, time
):
    sent = destroyed_without_the_database
    time.pass_by(resources.settings.orphan_grace - MINUTE)
    reconcile(resources)
    assert transfer_row(resources, sent.id).state == TransferState.LIVE, "younger than the grace"
    time.pass_by(2 * MINUTE)
    reconcile(resources)
    row = transfer_row(resources, sent.id)
    assert (row.state, row.ending) == (TransferState.DENIED, Ending.FAILED)
    assert sweep(resources).deleted == 1
    assert blobs_held(resources) == set()


def test_keys_go_but_no_transfer_of_another_installation_is_ended(resources, sent, tmp_path):
    """A mistyped database URL: the keys were meant, the transfers of somebody else were not."""
    settings = resources.settings
    elsewhere = VaultFolder(tmp_path / "elsewhere")
    elsewhere.adopt(new_id())
    elsewhere.create(EntryName(new_id(), sent.transfer.expires_at), new_secret())
    mistyped = connect(settings.model_copy(update={"vault": str(tmp_path / "elsewhere")}))
    with pytest.raises(InstallationMismatch):
        destroy_all_keys(mistyped)
    mistyped.close()
    assert list(elsewhere.names()) == []
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
