"""Entries that somebody appends to the log, with a valid hash in a valid tree: they attest nothing, hide nothing, and
stop nothing.
"""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.actions.accept_restore import accept_restore
from app.actions.delete_transfer import delete_transfer
from app.actions.give_receipt import give_receipt
from app.actions.keep_time import keep_time
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.prune_log import prune_log
from app.actions.reconcile import count_orphans, reconcile
from app.actions.renew_log import renew_log
from app.actions.report_retention import report_retention
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.verify_log import verify_log
from app.crypto.token import new_id
from app.db.tables import shares
from app.domain.audit_events import Entry, Event, RenewalReason
from app.domain.transfer import TransferState
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import (
    a_caller,
    blobs_held,
    change,
    files_of,
    keys_held,
    log_of,
    send,
    sweep,
    transfer_row,
)
from tests.integration.retention.forging import append_content, forge, forge_fields

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def words(resources) -> set[tuple[str, str | None]]:
    orphans = sum(look.orphans for look in count_orphans(resources))
    report = report_retention(resources, orphans=orphans)
    return {(each.word, each.transfer) for each in report.witnesses.contradictions}


def alter(resources, statement: str, **values) -> None:
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        assert transaction.connection.execute(text(statement), values).rowcount > 0


@pytest.mark.parametrize("hidden", [False, True], ids=["orphan", "hidden in another transfer"])
def test_a_second_deposit_in_the_log_makes_no_false_receipt(resources, caller, time, signing, hidden):
    """The row's blob and the log's last blob agree, and neither is the one that is stored."""
    other, sent = send(resources, caller), send(resources, caller, lifetime=40 * MINUTE)
    keep_time(resources)
    (file,) = files_of(resources, sent.id)
    fake = new_id()
    forge(resources, Entry(Event.FILE_DEPOSITED, time(), "staff", transfer=sent.id, file=0, size=file.size, blob=fake))
    alter(resources, "UPDATE files SET blob_id = :fake WHERE transfer_id = :id", fake=fake, id=sent.id)
    if hidden:
        columns = "state, size, sealed_size, created_at"
        alter(
            resources,
            f"INSERT INTO files (transfer_id, number, blob_id, {columns}) "
            "SELECT :other, 999, :blob, 'receiving', 0, 0, created_at FROM files WHERE blob_id = :fake",
            other=other.id, blob=file.blob_id, fake=fake,
        )  # fmt: skip
    assert ("entry_repeated", sent.id) in words(resources)
    time.pass_until(sent.transfer.expires_at + SECOND)
    for _ in range(3):
        keep_time(resources)
        sweep(resources)
        time.pass_by(SECOND)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert file.blob_id not in blobs_held(resources)


def test_a_second_creation_in_the_log_changes_no_owner(resources, caller, time):
    sent, eve = send(resources, caller), a_caller(resources, name="eve")
    (said,) = log_of(resources, event="transfer.created", transfer=sent.id)
    again = Entry(
        Event.TRANSFER_CREATED, time(), said["actor"], transfer=sent.id, expires_at=sent.transfer.expires_at,
        sealed=said["sealed"], owner=f"token:{eve.token_id}",
    )  # fmt: skip
    forge(resources, again)
    alter(resources, "UPDATE transfers SET token_id = :eve WHERE id = :id", eve=eve.token_id, id=sent.id)
    assert {("entry_repeated", sent.id), ("owner", sent.id)} <= words(resources)


MALFORMED: dict[str, tuple[Event, dict[str, Any]]] = {
    "blob is no id": (Event.FILE_DEPOSITED, {"file": 5, "size": 1, "blob": "x"}),
    "blob is a list": (Event.FILE_DEPOSITED, {"file": 5, "size": 1, "blob": ["x"]}),
    "size is a text": (Event.FILE_DEPOSITED, {"file": 0, "size": "x"}),
    "size of a new file is a text": (Event.FILE_DEPOSITED, {"file": 5, "size": "x"}),
    "size is negative": (Event.FILE_DEPOSITED, {"file": 5, "size": -1}),
    "size is huge": (Event.FILE_DEPOSITED, {"file": 5, "size": 10**400}),
    "expiry without a zone": (Event.SHARE_ISSUED, {"share": "B" * 21 + "A", "expires_at": "2030-01-01T00:00:00"}),
    "share is no id": (Event.SHARE_ISSUED, {"share": "x", "expires_at": "2030-01-01T00:00:00.000000Z"}),
    "count is a text": (Event.PASSWORD_WRONG, {"share": "x", "count": "x"}),
    "time without a zone": (Event.FILE_DEPOSITED, {"file": 5, "size": 1, "time": "2030-01-01T00:00:00"}),
    "time is a list": (Event.SHARE_CLAIMED, {"share": "x", "time": []}),
}


def assert_everything_goes_on(resources, sent, time) -> None:
    """Red, and yet reconciliation, deletion by hand and at the expiry work."""
    keep_time(resources)
    assert ("entry_altered", sent.id) in words(resources)
    reconcile(resources)
    time.pass_until(sent.transfer.expires_at + SECOND)
    keep_time(resources)
    report = sweep(resources)
    assert (report.failed, report.succeeded) == (0, True)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert words(resources) == set()


@pytest.mark.parametrize("case", MALFORMED)
def test_an_entry_of_the_wrong_form_is_red_and_stops_nothing(resources, caller, time, case):
    event, fields = MALFORMED[case]
    sent = send(resources, caller, lifetime=HOUR)
    forge_fields(resources, event, sent.id, **fields)
    assert_everything_goes_on(resources, sent, time)


def test_an_entry_of_nested_brackets_is_red_and_stops_nothing(resources, caller, time):
    sent = send(resources, caller, lifetime=HOUR)
    nested = "[" * 100_000 + "]" * 100_000
    content = f'{{"event":"file.deposited","x":{nested},"transfer":"{sent.id}"}}'
    with resources.database.writing() as transaction:
        append_content(transaction.connection, content, resources)
    assert_everything_goes_on(resources, sent, time)


@pytest.mark.parametrize("case", MALFORMED)
def test_a_transfer_with_such_an_entry_is_deleted_by_hand(resources, caller, case):
    event, fields = MALFORMED[case]
    sent = send(resources, caller)
    forge_fields(resources, event, sent.id, **fields)
    delete_transfer(resources, sent.id, caller=None)
    sweep(resources)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED


def test_a_share_that_has_no_id_hides_no_key_of_the_others(resources, caller, time):
    sent = send(resources, caller, lifetime=HOUR)
    change(resources, shares, sent.share.id, id="x")
    time.pass_until(sent.transfer.expires_at + SECOND)
    report = sweep(resources)
    assert (report.deleted, report.failed, report.succeeded) == (1, 0, True)
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())


@pytest.mark.parametrize("event", [Event.LOCKDOWN_LIFTED, Event.DRILL_PASSED, Event.LOG_PRUNED, Event.LOG_RENEWED])
@pytest.mark.parametrize(
    "fields", ['"time":7', '"below":"x"', f'"x":{"[" * 100_000 + "]" * 100_000}'], ids=["time", "below", "nested"]
)
def test_an_entry_about_the_service_of_the_wrong_form_stops_nothing(resources, caller, time, signing, event, fields):
    send(resources, caller)
    with resources.database.writing() as transaction:
        append_content(transaction.connection, f'{{"event":"{event}",{fields}}}', resources)
    keep_time(resources)
    found = words(resources)
    assert event in {Event.LOG_PRUNED, Event.LOG_RENEWED} or ("entry_altered", None) in found
    reconcile(resources)
    prune_log(resources, actor="scheduler")
    sign_checkpoint(resources, signing)
    assert verify_log(resources, signing).problem is not None


def test_a_sound_log_still_gives_a_receipt(resources, caller, time, signing):
    """The counterpart: nothing is taken for forged that is not."""
    sent = send(resources, caller)
    delete_transfer(resources, sent.id, caller=None)
    keep_time(resources)
    sweep(resources)
    sign_checkpoint(resources, signing)
    keep_time(resources)
    assert give_receipt(resources, sent.id)


def write_row(resources, sequence: int) -> None:
    alter(
        resources,
        "INSERT INTO audit_entries (sequence, at, content, leaf_hash) VALUES (:sequence, 0, '{}', :leaf)",
        sequence=sequence, leaf=bytes(32),
    )  # fmt: skip


@pytest.mark.parametrize("sequence", [2**62, 2**63 - 1, 1000, -5])
def test_a_row_beyond_the_log_is_red_and_stops_neither_deletion_nor_an_operator(
    resources, caller, time, signing, sequence
):
    sent, other = send(resources, caller, lifetime=HOUR), send(resources, caller)
    keep_time(resources)
    sign_checkpoint(resources, signing)
    write_row(resources, sequence)
    assert words(resources) == {("entry_stray", None)}
    verdict = verify_log(resources, signing)
    assert verdict.problem is not None
    lock_down(resources.database, resources.clock)
    lift_lockdown(resources.database, resources.clock)
    renew_log(resources, signing, RenewalReason.LOG_DAMAGED)
    time.pass_until(sent.transfer.expires_at + SECOND)
    keep_time(resources)
    report = sweep(resources)
    assert (report.deleted, report.succeeded) == (1, True)
    reconcile(resources)
    sign_checkpoint(resources, signing)
    accept_restore(resources, signing)
    assert transfer_row(resources, other.id).state == TransferState.LIVE
    keep_time(resources)
    assert ("entry_stray", None) in words(resources)
