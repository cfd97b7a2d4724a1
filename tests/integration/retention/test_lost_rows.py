"""Rows that somebody removed or moved to another transfer: the log still says what they were, and when they end."""

import os
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.actions.keep_time import keep_time
from app.actions.reconcile import count_orphans, reconcile
from app.actions.report_retention import RetentionReport, report_retention
from app.db import audit_size
from app.domain.audit_events import Entry, Event
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import (
    blob_path,
    blobs_held,
    events_of,
    files_of,
    keys_held,
    send,
    sweep,
)
from tests.integration.retention.forging import forge

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
RECEIVING = "state = 'receiving', lease_until = NULL, size = 0, sealed_size = 0"


def report(resources) -> RetentionReport:
    return report_retention(resources, orphans=sum(look.orphans for look in count_orphans(resources)))


def words(resources) -> set[tuple[str, str | None]]:
    return {(each.word, each.transfer) for each in report(resources).witnesses.contradictions}


def alter(resources, *statements: str, **values) -> None:
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        for statement in statements:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            transaction.connection.execute(text(statement), used)


def remove_rows(resources, sent, other, *, as_what: str) -> None:
    """Remove all rows of a transfer but its file's, which becomes one of another transfer."""
    alter(
        resources,
        "DELETE FROM claims WHERE transfer_id = :id",
        "DELETE FROM shares WHERE transfer_id = :id",
        f"UPDATE files SET transfer_id = :other, number = 7, {as_what} WHERE transfer_id = :id",
        "DELETE FROM transfers WHERE id = :id",
        id=sent.id,
        other=other.id,
    )


def written_now(resources, blob, time) -> None:
    """Files carry the real time, which is not that of the test; this one is too young to be an orphan."""
    later = (time.moment + timedelta(days=30)).timestamp()
    os.utime(blob_path(resources, blob), (later, later))


@pytest.fixture
def sent(resources, caller):
    return send(resources, caller, lifetime=40 * MINUTE)


@pytest.mark.parametrize("hidden_as", ["an upload without a lease", "an upload with a lease", "a forged deposit"])
def test_bytes_hidden_in_another_transfer_end_with_their_own(resources, caller, time, sent, hidden_as):
    other = send(resources, caller)
    (file,) = files_of(resources, sent.id)
    written_now(resources, file.blob_id, time)
    time.pass_until(sent.transfer.expires_at - 2 * SECOND)
    keep_time(resources)
    sweep(resources)
    lease = round((sent.transfer.expires_at + HOUR).timestamp() * 1_000_000)
    as_what = {
        "an upload without a lease": RECEIVING,
        "an upload with a lease": f"state = 'receiving', lease_until = {lease}",
        "a forged deposit": "state = 'live'",
    }[hidden_as]
    if hidden_as == "a forged deposit":
        again = Entry(
            Event.FILE_DEPOSITED, time(), "staff", transfer=other.id, file=7, size=file.size, blob=file.blob_id
        )
        forge(resources, again)
    remove_rows(resources, sent, other, as_what=as_what)
    assert ("row_missing", sent.id) in words(resources)
    time.pass_by(3 * SECOND)
    keep_time(resources)
    sweep(resources)
    assert ("row_missing", sent.id) in words(resources), "its bytes are there"
    reconcile(resources)
    assert file.blob_id not in blobs_held(resources)
    time.pass_by(10 * SECOND)  # a report gives what is due five seconds
    assert ("row_missing", sent.id) not in words(resources), "nothing of it is left"
    assert not any(name.transfer_id == sent.id for name in keys_held(resources))


def test_a_transfer_without_a_row_is_red_before_its_end_though_its_key_is_gone(resources, caller, sent):
    resources.vault.destroy(keys_held(resources))
    remove_rows(resources, sent, send(resources, caller), as_what="state = 'live'")
    assert ("row_missing", sent.id) in words(resources)


def test_a_forged_end_in_the_log_hides_no_bytes(resources, caller, sent, time):
    """An entry that says "deleted" is as easily appended as any other."""
    other = send(resources, caller)
    said = Entry(Event.TRANSFER_DELETED, time(), "scheduler", transfer=sent.id, outcome="expired")
    forge(resources, said._replace(files=1, size=1, lateness_ms=0))
    remove_rows(resources, sent, other, as_what="state = 'live'")
    assert ("row_missing", sent.id) in words(resources)


def test_keys_of_a_transfer_that_ended_and_has_no_row_go_without_an_operators_word(resources, caller, time):
    many = [send(resources, caller, lifetime=HOUR) for _ in range(22)]
    keep_time(resources)
    for sent in many:
        alter(
            resources,
            "DELETE FROM shares WHERE transfer_id = :id",
            "DELETE FROM files WHERE transfer_id = :id",
            "DELETE FROM transfers WHERE id = :id",
            id=sent.id,
        )
    time.pass_by(HOUR + SECOND)
    keep_time(resources)
    looks = {look.what: look for look in reconcile(resources)}
    assert (looks["keys"].certain, looks["keys"].failed, keys_held(resources)) == (44, 0, set())
    assert (looks["blobs"].certain, blobs_held(resources)) == (22, set())


@pytest.mark.parametrize("lease", ["NULL", "created_at + 1"], ids=["no lease", "a lease that ended"])
def test_a_row_of_an_upload_without_a_living_lease_is_red_and_dropped(resources, caller, sent, time, lease):
    alter(
        resources,
        "INSERT INTO files (transfer_id, number, blob_id, state, size, sealed_size, created_at, lease_until) "
        f"SELECT transfer_id, 7, 'AAAAAAAAAAAAAAAAAAAAAA', 'receiving', 0, 0, created_at, {lease} FROM files",
    )
    time.pass_by(2 * MINUTE)
    keep_time(resources)
    sweep(resources)
    assert report(resources).exit_code == 1
    reconcile(resources)
    sweep(resources)
    assert (len(files_of(resources, sent.id)), report(resources).exit_code) == (1, 0)
    assert events_of(resources, transfer=sent.id).count("upload.abandoned") == 1


def test_a_long_log_is_read_by_reconciliation_alone(resources, caller, sent, monkeypatch):
    monkeypatch.setattr("app.actions.report_retention.LOG_COMPARED", 1)
    resources.vault.destroy(keys_held(resources))
    remove_rows(resources, sent, send(resources, caller), as_what="state = 'live'")
    keep_time(resources)
    assert ("row_missing", sent.id) not in words(resources)
    reconcile(resources)
    assert ("row_missing", sent.id) in words(resources)


def test_a_log_of_several_pages_is_read_to_its_end(resources, caller, monkeypatch):
    monkeypatch.setattr("app.lifecycle.lost_rows.PAGE", 3)
    many = [send(resources, caller) for _ in range(4)]
    for sent in many[1:]:
        for table, column in (("shares", "transfer_id"), ("files", "transfer_id"), ("transfers", "id")):
            alter(resources, f"DELETE FROM {table} WHERE {column} = :id", id=sent.id)
    with resources.database.reading() as connection:
        assert audit_size.size(connection) > 3 * 3
    assert {one for word, one in words(resources) if word == "row_missing"} == {sent.id for sent in many[1:]}
