"""A transfer is gone if a search by id found nothing: whatever a row says, its keys and bytes go, or it is red.

Lesson 39: a deletion was checked against its own row, and a receipt against a path made of editable columns.
"""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from app.actions import sweep as sweeping
from app.actions.delete_transfer import delete_transfer
from app.actions.expire_keys import expire_keys
from app.actions.give_receipt import give_receipt
from app.actions.keep_time import keep_time
from app.actions.prune_log import prune_log
from app.actions.reconcile import count_orphans, reconcile
from app.actions.report_retention import report_retention
from app.actions.sign_checkpoint import sign_checkpoint
from app.crypto.token import new_secret
from app.db import counter_rows, transfer_listing
from app.domain.errors import DeletionContradicted, NotDeletedYet, RestoreNotAccepted, VaultOutOfReach
from app.domain.transfer import Ending, TransferState
from app.domain.transfer_list import TransferFilter
from app.domain.vault_entry import EntryName
from app.lifecycle import deletion
from app.lifecycle.gone import LARGE_BATCH, REST, ListingPace
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.fault_points import on_reach
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import (
    CONTENT,
    blob_path,
    blobs_held,
    events_of,
    files_of,
    key_path,
    keys_held,
    log_of,
    out_of_reach,
    run,
    send,
    sweep,
    transfer_row,
)
from tests.integration.retention.seeding import seed

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOUR_US = 3_600_000_000


@pytest.fixture
def alerts(monkeypatch):
    """What the sweeper says aloud."""
    said: list[dict[str, object]] = []
    monkeypatch.setattr(deletion.log, "error", lambda event, **told: said.append({"event": event, **told}))
    return said


def alter(resources, statement: str, **values) -> None:
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        assert transaction.connection.execute(text(statement), values).rowcount > 0


def state_of(resources, sent) -> TransferState:
    return transfer_row(resources, sent.id).state


# Keys


@pytest.mark.parametrize("moved_us", [-HOUR_US, HOUR_US, 1], ids=["earlier", "later", "by a microsecond"])
def test_a_key_is_destroyed_whatever_the_row_says_of_its_expiry(resources, caller, time, signing, alerts, moved_us):
    sent = send(resources, caller, lifetime=2 * DAY)
    alter(resources, "UPDATE transfers SET expires_at = expires_at + :by WHERE id = :id", by=moved_us, id=sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    assert keys_held(resources) == set(), "before the request is answered"
    keep_time(resources)
    assert sweep(resources).deleted == 1
    assert (alerts[0]["event"], alerts[0]["what"], alerts[0]["transfers"]) == (
        "row_contradicts_witness",
        ["expiry"],
        [sent.id],
    )
    sign_checkpoint(resources, signing)
    assert give_receipt(resources, sent.id)


def test_a_contradicted_end_is_counted_for_monitoring(resources, caller):
    sent = send(resources, caller)
    alter(resources, "UPDATE transfers SET purpose = 'imaging' WHERE id = :id", id=sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    with resources.database.reading() as connection:
        assert counter_rows.every(connection)["row_contradictions"] == 1


def test_a_key_that_neither_row_nor_log_knows_is_found_by_the_listing(resources, caller, time):
    """Nothing reads "deleted" before the listing that found nothing."""
    sent = send(resources, caller, lifetime=HOUR)
    hidden = EntryName(sent.id, sent.transfer.expires_at + 3 * DAY)
    resources.vault.create(hidden, new_secret())
    delete_transfer(resources, sent.id, caller=caller)
    report = sweep(resources)
    assert (report.deleted, report.failed, state_of(resources, sent)) == (0, 1, TransferState.BYTES_DELETED)
    assert [entry["outcome"] for entry in log_of(resources, event="deletion.failed")] == ["key_left"]
    assert keys_held(resources) == set(), "what was found is destroyed"
    time.pass_by(2 * SECOND)
    assert sweep(resources).deleted == 1
    assert events_of(resources, transfer=sent.id)[-1] == "transfer.deleted"


def test_a_file_out_of_place_keeps_a_transfer_from_reading_deleted(resources, caller, time):
    sent = send(resources, caller, lifetime=HOUR)
    place = key_path(resources, EntryName(sent.id, sent.transfer.expires_at + DAY))
    place.parent.mkdir()
    misplaced = place.with_name(f"{int(sent.transfer.expires_at.timestamp())}.{sent.id}")
    misplaced.write_bytes(b"a key, moved to an hour that is not its own")
    delete_transfer(resources, sent.id, caller=caller)
    for _ in range(3):
        assert sweep(resources).deleted == 0
        time.pass_by(MINUTE)
    assert report_retention(resources, orphans=0).exit_code == 1
    misplaced.unlink()
    time.pass_by(5 * MINUTE)
    assert sweep(resources).deleted == 1


def test_a_key_copied_to_the_name_of_a_temporary_file_is_seen(resources, caller, time):
    """Entries are never written under another name; only records of claims and hour keys are."""
    sent = send(resources, caller)
    key = key_path(resources, EntryName(sent.id, sent.transfer.expires_at))
    copied = key.with_name(f"{key.name}.0123456789abcdef.new")
    copied.write_bytes(key.read_bytes())
    keep_time(resources)
    assert len(report_retention(resources, orphans=0).witnesses.strangers) == 1
    delete_transfer(resources, sent.id, caller=caller)
    assert sweep(resources).deleted == 0
    copied.unlink()
    time.pass_by(5 * MINUTE)
    assert sweep(resources).deleted == 1


def test_what_a_crashed_writer_left_of_a_claim_or_an_hour_key_is_no_key(resources, caller):
    sent = send(resources, caller)
    key = key_path(resources, EntryName(sent.id, sent.transfer.expires_at, sent.share.id).of_claim)
    for name in (key.name, "hour.key"):
        key.with_name(f"{name}.0123456789abcdef.new").write_bytes(bytes(32))
    keep_time(resources)
    assert report_retention(resources, orphans=0).witnesses.strangers == []
    delete_transfer(resources, sent.id, caller=caller)
    assert sweep(resources).deleted == 1


def test_the_record_of_a_claim_goes_with_its_transfer(resources, caller):
    sent = send(resources, caller)
    name = EntryName(sent.id, sent.share.expires_at, sent.share.id)
    resources.vault.record_claim(name.of_claim, bytes(32))
    delete_transfer(resources, sent.id, caller=caller)
    assert sweep(resources).deleted == 1
    assert keys_held(resources) == set()


# Bytes


def test_the_bytes_that_the_log_names_go_whatever_the_row_names(resources, caller):
    sent = send(resources, caller)
    blob = files_of(resources, sent.id)[0].blob_id
    alter(resources, "UPDATE files SET blob_id = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE transfer_id = :id", id=sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    assert sweep(resources).deleted == 1
    assert not blob_path(resources, blob).exists()


def test_the_bytes_of_a_file_without_a_row_go_too(resources, caller):
    sent = send(resources, caller)
    alter(resources, "DELETE FROM files WHERE transfer_id = :id", id=sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    assert sweep(resources).deleted == 1
    assert blobs_held(resources) == set()


def test_the_size_that_a_deletion_attests_is_the_one_that_was_deposited(resources, caller):
    sent = send(resources, caller)
    alter(resources, "UPDATE files SET size = 1 WHERE transfer_id = :id", id=sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    (entry,) = log_of(resources, event="transfer.deleted")
    assert (entry["files"], entry["size"]) == (1, len(CONTENT))


# Receipts


@pytest.fixture
def deleted(resources, caller, signing):
    sent = send(resources, caller)
    keep_time(resources)
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    sign_checkpoint(resources, signing)
    return sent


@pytest.mark.parametrize("back", ["key", "key elsewhere", "bytes", "misplaced"])
def test_there_is_no_receipt_while_something_of_the_transfer_is_there(resources, caller, deleted, back):
    assert give_receipt(resources, deleted.id, caller=caller)
    name = EntryName(deleted.id, deleted.transfer.expires_at)
    if back == "key":
        resources.vault.create(name, new_secret())
    elif back == "key elsewhere":
        resources.vault.create(EntryName(deleted.id, deleted.transfer.expires_at + DAY), new_secret())
    elif back == "misplaced":
        key_path(resources, name).with_name(f"1700000000.{deleted.id}").write_bytes(b"?")
    else:
        blob_path(resources, files_of(resources, deleted.id)[0].blob_id).write_bytes(b"ciphertext")
    with pytest.raises(DeletionContradicted):
        give_receipt(resources, deleted.id, caller=caller)


def test_there_is_no_receipt_of_a_deletion_that_only_the_row_knows(resources, caller):
    sent = send(resources, caller)
    alter(resources, "UPDATE transfers SET state = 'verified', verified_at = created_at WHERE id = :id", id=sent.id)
    with pytest.raises(NotDeletedYet):
        give_receipt(resources, sent.id, caller=caller)


def test_a_receipt_does_not_depend_on_the_time_in_the_row(resources, caller, deleted):
    receipt = give_receipt(resources, deleted.id)
    alter(resources, "UPDATE transfers SET verified_at = verified_at + 1 WHERE id = :id", id=deleted.id)
    assert give_receipt(resources, deleted.id) == receipt


def test_there_is_no_receipt_while_the_vault_cannot_be_asked(resources, caller, deleted):
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultOutOfReach):
        give_receipt(resources, deleted.id)


def test_there_is_no_receipt_from_a_log_that_the_vault_does_not_remember(resources, caller, deleted):
    send(resources, caller)
    keep_time(resources)
    alter(resources, "DELETE FROM audit_entries WHERE sequence = (SELECT max(sequence) FROM audit_entries)")
    with pytest.raises(RestoreNotAccepted):
        give_receipt(resources, deleted.id)


# The pace of listings


class Ticks:
    """A clock that a listing moves on."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def slow_listing(resources, monkeypatch):
    """Each listing of the vault takes a fifth of a second."""
    ticks, find, listed = Ticks(), resources.vault.find, []

    def slowly(ids):
        ticks.seconds += 0.2
        listed.append(ids)
        return find(ids)

    monkeypatch.setattr(resources.vault, "find", slowly)
    return ticks, listed


def test_a_small_batch_waits_before_the_next_listing(resources, caller, time, slow_listing):
    ticks, listed = slow_listing
    watch = VaultWatch(ListingPace(clock=ticks, cost=ticks))
    sent = [send(resources, caller, lifetime=number * MINUTE) for number in (1, 2)]
    time.pass_until(sent[0].transfer.expires_at)
    assert run(sweeping.sweep(resources, watch=watch)).deleted == 1, "the first lists at once"
    time.pass_until(sent[1].transfer.expires_at)
    ticks.seconds += REST * 0.2 - 0.1
    report = run(sweeping.sweep(resources, watch=watch))
    assert (report.deleted, report.failed, report.succeeded) == (0, 0, True), "it waits, and that is no failure"
    assert state_of(resources, sent[1]) == TransferState.BYTES_DELETED
    assert keys_held(resources) == set()
    assert transfer_row(resources, sent[1].id).due_at == time() + SECOND
    time.pass_by(SECOND)
    ticks.seconds += 0.2
    assert run(sweeping.sweep(resources, watch=watch)).deleted == 1
    assert listed == [{sent[0].id}, {sent[1].id}]


def test_a_transfer_that_waits_for_a_listing_counts_no_further_failure(resources, caller, time, slow_listing):
    ticks, _ = slow_listing
    watch = VaultWatch(ListingPace(clock=ticks, cost=ticks))
    sent = send(resources, caller)
    resources.vault.create(EntryName(sent.id, sent.transfer.expires_at + DAY), new_secret())
    delete_transfer(resources, sent.id, caller=caller)
    assert run(sweeping.sweep(resources, watch=watch)).failed == 1
    time.pass_by(2 * SECOND)
    assert run(sweeping.sweep(resources, watch=watch)).failed == 0
    assert transfer_row(resources, sent.id).failures == 1
    assert report_retention(resources, orphans=0).failing == [sent.id]
    time.pass_by(SECOND)
    ticks.seconds += REST
    assert run(sweeping.sweep(resources, watch=watch)).deleted == 1


def test_a_large_batch_and_a_vault_that_lists_quickly_do_not_wait():
    ticks = Ticks()
    pace = ListingPace(clock=ticks, cost=ticks)
    assert pace.allows(1)
    pace._ended, pace._took = 0.0, 0.2
    assert not pace.allows(LARGE_BATCH - 1)
    assert pace.allows(LARGE_BATCH)
    pace._took = 0.0001
    ticks.seconds = 0.5
    assert pace.allows(1)


def test_a_sweep_by_hand_lists_for_every_batch(resources, caller, time, slow_listing, monkeypatch):
    monkeypatch.setattr("app.actions.sweep.BATCH", 1)
    for _ in range(3):
        send(resources, caller, lifetime=MINUTE)
    time.pass_by(2 * MINUTE)
    assert sweep(resources).deleted == 3
    assert len(slow_listing[1]) == 3


# A life ends at the earliest of vault, row and log


@pytest.fixture
def immortal(resources, caller):
    """A transfer of an hour, whose row was made to last."""
    sent = send(resources, caller, lifetime=HOUR)
    alter(resources, "UPDATE transfers SET expires_at = expires_at + :by, due_at = due_at + :by WHERE id = :id",
          by=100 * HOUR_US, id=sent.id)  # fmt: skip
    alter(resources, "UPDATE shares SET expires_at = expires_at + :by", by=100 * HOUR_US)
    return sent


def test_a_sweep_by_hand_ends_what_the_vault_ends(resources, time, immortal, alerts):
    time.pass_until(immortal.transfer.expires_at - SECOND)
    assert sweep(resources).ended == 0
    time.pass_by(SECOND)
    report = sweep(resources)
    assert (report.ended, report.deleted) == (1, 1)
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    assert [alert["what"] for alert in alerts] == [["expiry"]]


def test_a_scheduler_knows_the_end_when_the_purge_was_quicker(resources, time, immortal, purge):
    watch = VaultWatch()
    time.pass_until(immortal.transfer.expires_at - 40 * SECOND)
    assert run(sweeping.sweep(resources, watch=watch)).ended == 0
    time.pass_until(immortal.transfer.expires_at)
    keep_time(resources)
    purge()
    assert keys_held(resources) == set()
    assert run(sweeping.sweep(resources, watch=watch)).deleted == 1
    row = transfer_row(resources, immortal.id)
    assert (row.ending, row.verified_at) == (Ending.EXPIRED, time())


def test_the_vault_is_read_every_half_minute(resources, caller, time, monkeypatch):
    watch, reads, real = VaultWatch(), list[datetime](), resources.vault.ending_by

    def noted(moment):
        reads.append(moment)
        return real(moment)

    monkeypatch.setattr(resources.vault, "ending_by", noted)
    began = time()
    for _ in range(61):
        run(sweeping.sweep(resources, watch=watch))
        time.pass_by(1)
    assert [(moment - began).total_seconds() for moment in reads] == [90, 120, 150]


def test_what_nobody_saw_end_is_overdue_and_ended_at_reconciliation(resources, time, immortal, purge):
    """A scheduler that was down meanwhile; the log still knows."""
    keep_time(resources)
    time.pass_until(immortal.transfer.expires_at + MINUTE)
    keep_time(resources)
    purge()
    assert report_retention(resources, orphans=0).overdue == 1
    reconcile(resources)
    assert transfer_row(resources, immortal.id).ending == Ending.EXPIRED
    assert sweep(resources).deleted == 1


def test_a_missing_entry_ends_nothing(resources, caller, time):
    sent = send(resources, caller)
    keep_time(resources)
    alter(resources, "UPDATE audit_entries SET content = NULL WHERE transfer = :id", id=sent.id)
    sweep(resources)
    reconcile(resources)
    assert state_of(resources, sent) == TransferState.LIVE


def test_an_expiry_that_was_moved_earlier_ends_earlier_and_leaves_nothing(resources, caller, time):
    sent = send(resources, caller, lifetime=2 * DAY)
    alter(resources, "UPDATE transfers SET expires_at = expires_at - :by, due_at = due_at - :by WHERE id = :id",
          by=47 * HOUR_US, id=sent.id)  # fmt: skip
    time.pass_by(HOUR)
    assert sweep(resources).deleted == 1
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())


def test_a_transfer_that_cannot_be_ended_is_retried_with_back_off(resources, time, immortal):
    watch = VaultWatch()
    time.pass_until(immortal.transfer.expires_at)
    with on_reach("deletion.taken", lambda: 1 / 0):
        assert run(sweeping.sweep(resources, watch=watch)).failed == 1
        assert run(sweeping.sweep(resources, watch=watch)).failed == 0, "not before its next try"
    time.pass_by(5)
    assert run(sweeping.sweep(resources, watch=watch)).deleted == 1


# Reconciliation


def test_keys_of_rows_that_ended_go_without_an_operators_word(resources, caller, time):
    """Thirty keys of transfers that are gone came back: their own rows say that they belong to nothing."""
    expires_at = (time.moment + MINUTE).replace(microsecond=0)
    seed(resources, 30, token_id=caller.token_id, created_at=time.moment, expires_at=expires_at)
    time.pass_by(2 * MINUTE)
    assert sweep(resources).deleted == 30
    with resources.database.reading() as connection:
        ids = [row.id for row in transfer_listing.page(connection, TransferFilter(), None, 30)[0]]
    names = [EntryName(one, expires_at + DAY) for one in ids]
    for name in names:
        resources.vault.create(name, new_secret())
    look = {look.what: look for look in count_orphans(resources)}["keys"]
    assert (look.orphans, look.certain, look.needs_confirmation) == (30, 30, False)
    destroyed = {look.what: look.destroyed for look in reconcile(resources)}
    assert (destroyed["keys"], keys_held(resources)) == (30, set())


def test_keys_of_unknown_rows_count_against_the_ceiling_and_others_go_all_the_same(resources, caller, time):
    sent = send(resources, caller)
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    later = sent.transfer.expires_at
    for number in range(21):
        resources.vault.create(EntryName(f"{number:022}", later), new_secret())
    resources.vault.create(EntryName(sent.id, later), new_secret())
    look = {look.what: look for look in reconcile(resources)}["keys"]
    assert (look.orphans, look.certain, look.destroyed, look.needs_confirmation) == (22, 1, 1, True)
    assert len(keys_held(resources)) == 21


def test_bytes_that_came_back_to_a_verified_transfer_go_at_once(resources, caller, deleted):
    path = blob_path(resources, files_of(resources, deleted.id)[0].blob_id)
    path.write_bytes(b"ciphertext")
    look = {look.what: look for look in reconcile(resources)}["blobs"]
    assert (look.certain, look.destroyed, path.exists()) == (1, 1, False)


def test_a_row_that_names_another_expiry_is_not_taken_for_one_without_a_key(resources, caller, time):
    """Else somebody could have reconciliation end it an hour later."""
    sent = send(resources, caller, lifetime=5 * DAY)
    alter(resources, "UPDATE transfers SET expires_at = expires_at + :by WHERE id = :id", by=HOUR_US, id=sent.id)
    time.pass_by(2 * resources.settings.orphan_grace)
    reconcile(resources)
    assert state_of(resources, sent) == TransferState.LIVE


# Pruning


@pytest.fixture
def old_and_young(resources, caller, time):
    """A log whose first entries are older than its retention; the sequence of the first that is not."""
    send(resources, caller)
    time.pass_by(resources.settings.audit_retention)
    young = len(log_of(resources))
    keep_time(resources)
    sweep(resources)
    send(resources, caller)
    time.pass_by(MINUTE)
    return young


@pytest.mark.parametrize("moved", [-DAY * 800, DAY * 800], ids=["older", "younger"])
def test_pruning_goes_by_the_contents_and_not_by_the_column(resources, old_and_young, moved):
    by = int(moved / timedelta(microseconds=1))
    alter(resources, "UPDATE audit_entries SET at = at + :by", by=by)
    assert prune_log(resources, actor="operator") == old_and_young
    kept = [entry.get("event") for entry in log_of(resources)]
    assert kept[:old_and_young].count(None) == old_and_young - 1, "all but log.started"
    assert None not in kept[old_and_young:]


def test_an_altered_entry_counts_by_its_position(resources, old_and_young):
    alter(resources, "UPDATE audit_entries SET content = replace(content, '2026-', '2099-') WHERE sequence < :young",
          young=old_and_young - 1)  # fmt: skip
    assert prune_log(resources, actor="operator") == old_and_young


def test_a_boundary_that_the_log_does_not_tell_of_prunes_nothing(resources, old_and_young):
    alter(resources, "INSERT INTO audit_boundaries (below) VALUES (:all)", all=len(log_of(resources)))
    prune_log(resources, actor="operator")
    assert None not in [entry.get("event") for entry in log_of(resources)][old_and_young:]


def test_the_purge_destroys_the_key_whatever_row_and_log_say(resources, time, immortal):
    """G1: an end of its own, by the vault alone."""
    keep_time(resources)
    time.pass_until(immortal.transfer.expires_at)
    keep_time(resources)
    expire_keys(resources.vault, resources.clock)
    assert keys_held(resources) == set()
    assert asyncio.run(resources.blobs.exists(files_of(resources, immortal.id)[0].blob_id))
