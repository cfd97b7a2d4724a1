"""The sweep when all goes well: everything due ends, is deleted step by step, and reads "deleted" only then."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from app.actions import sweep as sweeping
from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.keep_time import keep_time
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id
from app.db import retention_figures, service_rows, transfer_rows
from app.db.tables import audit_entries, files, shares, transfers
from app.db.transfer_rows import TransferRow
from app.domain.claim import DELIVERED_WINDOW
from app.domain.errors import Refusal, ShareExpired
from app.domain.retention import FORGET_AFTER
from app.domain.share import ShareState
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.intake import LEASE
from app.runtime.fault_points import on_reach
from app.runtime.resources import Resources
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    WRONG_PASSWORD,
    a_transfer,
    abandon_upload,
    blobs_held,
    change,
    claim,
    claim_row,
    deposit,
    events_of,
    everything_stored,
    fetch,
    files_of,
    issue,
    keys_held,
    log_of,
    open_claim,
    pieces_of,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)


@pytest.fixture
def sent(resources, caller):
    return send(resources, caller, label="Sent by the laboratory")


def service_state(resources):
    with resources.database.reading() as connection:
        return service_rows.get(connection)


def counts(report):
    return report.ended, report.deleted, report.failed


# Everything due


def test_a_sweep_with_nothing_due_changes_nothing_but_says_that_it_has_passed(resources, sent, time):
    before = transfer_row(resources, sent.id), log_of(resources)
    time.pass_by(1)
    report = sweep(resources)
    assert (counts(report), report.succeeded) == ((0, 0, 0), True)
    assert (transfer_row(resources, sent.id), log_of(resources)) == before
    assert (service_state(resources).time_mark, service_state(resources).last_sweep_at) == (time(), time())


def test_an_expired_transfer_goes_through_every_step_in_one_sweep(resources, sent, time):
    """Lesson 1: no habit and no hand is needed; each step is observed, then logged."""
    time.pass_until(sent.transfer.expires_at - timedelta.resolution)
    assert counts(sweep(resources)) == (0, 0, 0)
    time.pass_until(sent.transfer.expires_at)
    report = sweep(resources)
    assert (counts(report), report.succeeded) == ((1, 1, 0), True)
    row, share = transfer_row(resources, sent.id), share_row(resources, sent.share.id)
    assert (row.state, row.ending, row.denied_at, row.verified_at) == (
        TransferState.VERIFIED,
        Ending.EXPIRED,
        time(),
        time(),
    )
    assert (row.owner_wrap, share.wrapped_key, share.state) == (None, None, ShareState.EXPIRED)
    assert share.keys_destroyed_at == time()
    assert row.due_at == time() + FORGET_AFTER
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    assert {file.sealed_meta for file in files_of(resources, sent.id)} == {None}
    assert events_of(resources, transfer=sent.id)[3:] == [
        "share.expired",
        "transfer.denied",
        "keys.destroyed",
        "bytes.deleted",
        "transfer.deleted",
    ]
    assert {entry["actor"] for entry in log_of(resources, transfer=sent.id)[3:]} == {"scheduler"}


def test_the_log_says_how_much_is_gone_why_and_how_late(resources, caller, time):
    """Lesson 10: the number reported as deleted equals the bytes really gone."""
    transfer = a_transfer(resources, caller)

    async def two():
        await deposit(resources, caller, transfer, b"x" * 1000)
        await deposit(resources, caller, transfer, b"y" * 234)

    run(two())
    time.pass_until(transfer.expires_at + timedelta(milliseconds=1500))
    sweep(resources)
    (entry,) = log_of(resources, event="transfer.deleted")
    assert (entry["files"], entry["size"], entry["lateness_ms"], entry["outcome"]) == (2, 1234, 1500, "expired")


def test_a_size_that_no_log_entry_can_hold_delays_no_deletion(resources, sent, time):
    """Somebody who writes to the database, and takes the entry of the deposit out of the log, keeps nothing alive."""
    change(resources, files, sent.id, size=2**63 - 1)
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        deposited = audit_entries.c.content.like('%"event":"file.deposited"%')
        transaction.connection.execute(update(audit_entries).where(deposited).values(content=None))
    time.pass_until(sent.transfer.expires_at)
    assert counts(sweep(resources)) == (1, 1, 0)
    (entry,) = log_of(resources, event="transfer.deleted")
    assert entry["size"] == 2**53 - 1


def test_lateness_counts_from_the_denial_where_that_came_first(resources, caller, sent, time):
    delete_transfer(resources, sent.id, caller=caller)
    time.pass_by(3)
    sweep(resources)
    (entry,) = log_of(resources, event="transfer.deleted")
    assert (entry["lateness_ms"], entry["outcome"]) == (3000, "deleted")


@pytest.mark.parametrize("state", ["claimed", "lapsed", "locked", "withdrawn", "no share", "no file"])
def test_a_transfer_in_any_state_is_gone_after_its_expiry(resources, caller, time, state):
    transfer = a_transfer(resources, caller)
    if state != "no file":
        run(deposit(resources, caller, transfer))
    if state not in {"no file", "no share"}:
        share = run(issue(resources, caller, transfer))
        if state in {"claimed", "lapsed"}:
            run(claim(resources, share))
        if state == "lapsed":
            time.pass_by(timedelta(hours=1))
            sweep(resources)
        if state == "withdrawn":
            withdraw_share(resources, share.id, caller=caller)
        if state == "locked":
            for _ in range(5):
                with pytest.raises(Refusal):
                    run(claim(resources, share, password=WRONG_PASSWORD))
    time.pass_until(transfer.expires_at)
    assert counts(sweep(resources)) == (1, 1, 0)
    assert transfer_row(resources, transfer.id).state == TransferState.VERIFIED
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())


def test_a_share_that_had_ended_keeps_its_end(resources, caller, sent, time):
    withdraw_share(resources, sent.share.id, caller=caller)
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.WITHDRAWN


def test_what_was_completed_is_deleted_at_once(resources, sent, time):
    claimed = run(claim(resources, sent.share))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    assert blobs_held(resources) != set()
    assert counts(sweep(resources)) == (0, 1, 0)
    assert blobs_held(resources) == set()
    assert transfer_row(resources, sent.id).ending == Ending.COMPLETED


def test_more_than_a_batch_is_swept_in_one_go(resources, caller, time, monkeypatch):
    """Lesson 6: a sweep does not stop at the first batch, nor at the second."""
    monkeypatch.setattr(sweeping, "BATCH", 100)
    batches = []
    expires_at = time().replace(microsecond=0) + timedelta(minutes=5)
    with resources.database.writing() as transaction:
        for number in range(220):
            row = TransferRow(
                id=new_id(),
                token_id=caller.token_id,
                state=TransferState.LIVE,
                sealed=False,
                created_at=time(),
                expires_at=expires_at,
                closed_at=None,
                keep_until_expiry=False,
                label=f"transfer {number}",
                purpose=None,
                records=None,
                owner_wrap=b"wrap",
                ending=None,
                denied_at=None,
                verified_at=None,
                due_at=expires_at,
                failures=0,
                owner=caller.owner,
            )
            transfer_rows.create(transaction.connection, row)
    time.pass_until(expires_at)
    with on_reach("deletion.taken", lambda: batches.append(1)):
        assert counts(sweep(resources)) == (220, 220, 0)
    assert len(batches) == 3
    with resources.database.reading() as connection:
        assert retention_figures.count_by_state(connection) == {"verified": 220}
    assert len(log_of(resources, event="transfer.deleted")) == 220


# Claims whose window closes


def test_a_window_that_closes_ends_the_share_and_not_the_transfer(resources, caller, sent, time):
    """Lesson 16; the depositor can issue another until the transfer expires."""
    run(claim(resources, sent.share))
    time.pass_by(timedelta(minutes=60) - timedelta.resolution)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
    time.pass_by(timedelta.resolution)
    sweep(resources)
    row = share_row(resources, sent.share.id)
    assert (row.state, row.wrapped_key, row.keys_destroyed_at) == (ShareState.LAPSED, None, time())
    assert claim_row(resources, sent.share.id).wrapped_key is None
    own = EntryName(sent.id, sent.transfer.expires_at, sent.share.id)
    assert keys_held(resources) == {EntryName(sent.id, sent.transfer.expires_at), own.of_claim}
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    assert transfer_row(resources, sent.id).due_at == sent.transfer.expires_at
    assert events_of(resources, share=sent.share.id)[-2:] == ["share.lapsed", "share.keys_destroyed"]
    again = run(issue(resources, caller, sent.transfer))
    assert run(fetch(resources, run(claim(resources, again)))) == CONTENT


def test_a_window_that_was_moved_on_is_waited_for(resources, sent, time):
    claimed = run(claim(resources, sent.share))
    time.pass_by(timedelta(minutes=50))
    run(fetch(resources, claimed))
    time.pass_by(timedelta(minutes=20))
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
    assert transfer_row(resources, sent.id).due_at == claim_row(resources, sent.share.id).window_until
    time.pass_by(timedelta(minutes=40))
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.LAPSED


def test_a_window_after_delivery_ends_as_completed_and_the_transfer_with_it(resources, sent, time):
    """docs/http-api.md: the one-line route never completes by itself; five minutes after its last byte it counts."""
    claimed = run(claim(resources, sent.share))

    async def deliver():
        files = await open_claim(resources, claimed)
        async with files.download(pieces_of(), 1, delivers=True) as download:
            await download.arrived()

    run(deliver())
    time.pass_by(DELIVERED_WINDOW)
    report = sweep(resources)
    assert report.deleted == 1
    assert share_row(resources, sent.share.id).state == ShareState.COMPLETED
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert transfer_row(resources, sent.id).ending == Ending.COMPLETED


# Uploads whose process died


def test_an_upload_whose_process_died_is_removed_once_its_lease_is_over(resources, caller, time):
    """Lesson 9: no partial upload survives a kill -9."""
    transfer = a_transfer(resources, caller)
    run(deposit(resources, caller, transfer))
    blob_id = abandon_upload(resources, caller, transfer.id)
    time.pass_by(LEASE - timedelta.resolution)
    sweep(resources)
    assert len(files_of(resources, transfer.id)) == 2
    time.pass_by(timedelta.resolution)
    assert counts(sweep(resources)) == (0, 0, 0)
    assert blob_id not in blobs_held(resources)
    assert [row.number for row in files_of(resources, transfer.id)] == [0]
    (entry,) = log_of(resources, event="upload.abandoned")
    assert (entry["transfer"], entry["file"], entry["actor"]) == (transfer.id, 1, "scheduler")
    assert transfer_row(resources, transfer.id).due_at == transfer.expires_at
    assert run(deposit(resources, caller, transfer)).number == 1
    assert run(issue(resources, caller, transfer)).transfer_id == transfer.id


def test_a_transfer_that_ends_takes_its_abandoned_uploads_with_it(resources, caller, time):
    transfer = a_transfer(resources, caller)
    abandon_upload(resources, caller, transfer.id)
    time.pass_until(transfer.expires_at)
    assert counts(sweep(resources)) == (1, 1, 0)
    assert blobs_held(resources) == set()
    assert transfer_row(resources, transfer.id).state == TransferState.VERIFIED


def test_two_abandoned_uploads_have_a_lease_each(resources, caller, time):
    transfer = a_transfer(resources, caller)
    abandon_upload(resources, caller, transfer.id)
    time.pass_by(LEASE / 2)
    other = abandon_upload(resources, caller, transfer.id)
    time.pass_by(LEASE / 2)
    sweep(resources)
    assert {file.blob_id for file in files_of(resources, transfer.id)} == {other}
    assert transfer_row(resources, transfer.id).due_at == time() + LEASE / 2
    time.pass_by(LEASE / 2)
    sweep(resources)
    assert files_of(resources, transfer.id) == []
    assert blobs_held(resources) == set()


# Forgetting


def test_thirty_days_later_nobody_is_named_any_more(resources, sent, time):
    """docs/deletion.md: ended transfers keep no recipient or label after 30 days; what the log needs stays."""
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    verified_at = time()
    time.pass_until(verified_at + FORGET_AFTER - timedelta.resolution)
    sweep(resources)
    assert transfer_row(resources, sent.id).label == "Sent by the laboratory"
    assert share_row(resources, sent.share.id).recipient == "Agency, Ms Durand"
    time.pass_until(verified_at + FORGET_AFTER)
    assert counts(sweep(resources)) == (0, 0, 0)
    row = transfer_row(resources, sent.id)
    assert (row.label, row.due_at, row.state, row.verified_at) == (None, None, TransferState.VERIFIED, verified_at)
    assert share_row(resources, sent.share.id).recipient is None
    assert len(log_of(resources, event="transfer.deleted")) == 1
    with pytest.raises(ShareExpired):
        run(claim(resources, sent.share))


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_was_forgotten_is_nowhere_on_disk(resources, caller, time):
    sent = send(resources, caller, label="CANARY-LABEL")
    change(resources, shares, sent.share.id, recipient="CANARY-RECIPIENT")
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    assert b"CANARY" in everything_stored(resources)
    time.pass_by(FORGET_AFTER)
    sweep(resources)
    resources.database.forget_deleted()
    assert b"CANARY" not in everything_stored(resources)


# Backups


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("end", ["expired", "completed", "withdrawn", "deleted"])
def test_a_backup_restored_after_the_end_opens_nothing(start_service, resources, caller, sent, time, end):
    """Lesson 11 (EDPB 2026): database and blobs of before, the right link and password: nothing."""
    blobs = {path: path.read_bytes() for path in resources.settings.blobs_dir.rglob("*") if path.is_file()}
    assert resources.database.forget_deleted()
    database = resources.database.file.read_bytes()
    if end == "expired":
        time.pass_until(sent.transfer.expires_at)
    elif end == "completed":
        claimed = run(claim(resources, sent.share))
        complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    elif end == "withdrawn":
        withdraw_share(resources, sent.share.id, caller=caller)
    else:
        delete_transfer(resources, sent.id, caller=caller)
    keep_time(resources)
    sweep(resources)
    assert resources.database.forget_deleted()
    resources.close()
    for path, content in blobs.items():
        path.write_bytes(content)
    resources.database.file.write_bytes(database)
    restored = start_service()
    assert share_row(restored, sent.share.id).state == ShareState.ISSUED
    assert transfer_row(restored, sent.id).state == TransferState.LIVE
    presented = LinkAndPassword.by_secret(sent.share.link_secret, sent.share.password, None, ADDRESS)
    with pytest.raises(ShareExpired):
        run(claim_share(restored, sent.share.id, presented))
    if end != "withdrawn":
        with pytest.raises(Refusal):
            run(issue(restored, caller, sent.transfer))


def test_ends_that_requests_did_not_finish_are_finished_by_the_sweeper(resources, caller, sent, time, monkeypatch):
    """A process that dies between the commit and the destruction of the keys."""
    with monkeypatch.context() as patch:
        patch.setattr(Resources, "destroy_keys", lambda self, names: None)
        withdraw_share(resources, sent.share.id, caller=caller)
    assert len(keys_held(resources)) == 2
    sweep(resources)
    assert len(keys_held(resources)) == 1
    assert share_row(resources, sent.share.id).keys_destroyed_at == time()
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


def test_an_expiry_brought_forward_by_hand_is_swept_when_its_turn_comes(resources, sent, time):
    """Lesson 8: rows changed by hand end what they name and nothing else."""
    change(resources, transfers, sent.id, due_at=time())
    sweep(resources)
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    assert transfer_row(resources, sent.id).due_at == sent.transfer.expires_at
