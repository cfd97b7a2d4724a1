"""Lockdown: one command stops everything that goes in or out; another destroys every key there is."""

import sqlite3
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.actions.accept_clock import accept_clock
from app.actions.check_readiness import check_readiness
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.end_all_transfers import end_all_transfers
from app.actions.keep_time import keep_time, keep_time_or_alert
from app.actions.lock_down import lift_lockdown, lock_down, lockdown_since
from app.actions.reconcile import reconcile
from app.actions.report_retention import report_retention
from app.actions.revoke_access_token import revoke_access_token
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.db.column_types import UtcTime
from app.db.errors import ChangeUndone, DatabaseUnavailable
from app.db.schema import strange_triggers
from app.db.tables import service_state
from app.domain.errors import ClaimEnded, LockedDown, ShareExpired, ShareWithdrawn, TransferEnded
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.runtime.installation import InstallationMismatch, require_vault_not_foreign
from app.runtime.resources import connect
from app.runtime.settings import Settings
from app.storage.vault_folder import VaultFolder
from tests.full_rights import take_full_rights
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
from tests.marks import first

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
    with pytest.raises(ShareWithdrawn):
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
    mistyped = connect(settings.model_copy(update={"vault": SecretStr(str(tmp_path / "elsewhere"))}))
    with pytest.raises(InstallationMismatch):
        destroy_all_keys(mistyped)
    mistyped.close()
    assert list(elsewhere.names()) == []
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


# Against one row or one trigger of the database


GARBAGE = ["'soon'", "9223372036854775807", "-9223372036854775808", "1e300", "x'00'"]
TIMES = [column.name for column in service_state.columns if isinstance(column.type, UtcTime)]


def execute(resources, statement: str) -> None:
    with resources.database.writing() as transaction:
        transaction.connection.execute(text(statement))


def alter(resources, statement: str) -> None:
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(text(statement))


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize("column", first(2, ["anchor_boot_seconds", *TIMES]))
def test_a_time_that_cannot_be_read_stops_no_control_and_no_sweep(resources, caller, time, sent, column, value):
    keep_time(resources)
    alter(resources, f"UPDATE service_state SET {column} = {value}")
    lock_down(resources.database, resources.clock)
    assert lockdown_since(resources.database) is not None
    lift_lockdown(resources.database, resources.clock)
    assert lockdown_since(resources.database) is None
    report_retention(resources, orphans=0)
    time.pass_until(sent.transfer.expires_at + MINUTE)
    keep_time_or_alert(resources)
    assert sweep(resources).deleted == 1
    accept_clock(resources)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", ["'soon'", "9223372036854775807"])
def test_a_mark_that_cannot_be_read_is_red_until_the_clock_is_accepted(resources, caller, value):
    keep_time(resources)
    alter(resources, f"UPDATE service_state SET time_mark = {value}")
    assert check_readiness(resources) == ["clock_not_trusted"]
    accept_clock(resources)
    assert check_readiness(resources) == []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_second_row_of_the_service_changes_nothing(resources):
    names = ", ".join(column.name for column in service_state.columns if column.name != "id")
    with sqlite3.connect(resources.database.file) as connection:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute(f"INSERT INTO service_state (id, {names}) SELECT 2, {names} FROM service_state")
    connection.close()
    since = lock_down(resources.database, resources.clock)
    assert lockdown_since(resources.database) == since
    assert check_readiness(resources) == ["locked_down"]
    lift_lockdown(resources.database, resources.clock)
    assert check_readiness(resources) == []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_lockdown_begins_though_the_log_takes_no_entry(resources):
    refuse = "BEGIN SELECT RAISE(ABORT, 'no'); END"
    execute(resources, f"CREATE TRIGGER refused BEFORE INSERT ON audit_entries {refuse}")
    assert lock_down(resources.database, resources.clock) == lockdown_since(resources.database)
    assert check_readiness(resources) == ["locked_down"]
    lift_lockdown(resources.database, resources.clock)
    assert lockdown_since(resources.database) is None


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_the_database_does_not_keep_is_not_reported_as_done(resources, caller):
    for table, column, back in (
        ("service_state", "locked_down_at", "NULL"),
        ("access_tokens", "revoked_at", "NULL"),
    ):
        body = f"BEGIN UPDATE {table} SET {column} = {back}; END"
        execute(resources, f"CREATE TRIGGER back_{table} AFTER UPDATE OF {column} ON {table} {body}")
    with pytest.raises(ChangeUndone):
        lock_down(resources.database, resources.clock)
    with pytest.raises(ChangeUndone):
        revoke_access_token(resources.database, resources.clock, caller.token_id)
    execute(resources, "DROP TRIGGER back_service_state")
    lock_down(resources.database, resources.clock)
    body = "BEGIN UPDATE service_state SET locked_down_at = 1; END"
    execute(resources, f"CREATE TRIGGER again AFTER UPDATE OF locked_down_at ON service_state {body}")
    with pytest.raises(ChangeUndone):
        lift_lockdown(resources.database, resources.clock)
    assert {"again", "back_access_tokens"} <= set(strange_triggers(resources.database))


def test_the_triggers_of_the_migrations_are_known(resources):
    assert strange_triggers(resources.database) == []


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("body", [None, "BEGIN SELECT 1; END"], ids=["gone", "with another text"])
def test_a_trigger_of_the_migrations_that_is_gone_or_changed_is_named(resources, body):
    with resources.database.writing() as transaction:
        transaction.connection.execute(text("DROP TRIGGER audit_nodes_delete"))
        if body is not None:
            made = f"CREATE TRIGGER audit_nodes_delete BEFORE DELETE ON audit_nodes {body}"
            transaction.connection.execute(text(made))
    assert strange_triggers(resources.database) == ["audit_nodes_delete"]
