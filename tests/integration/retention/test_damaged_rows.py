"""A row that cannot be read: it fails loudly and alone, it never counts as gone, and once it is mended it goes."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from app.actions.report_retention import report_retention
from app.db.tables import files, shares, transfers
from app.domain.transfer import TransferState
from app.lifecycle import deletion, deletion_retry
from tests.integration.actions.stories import (
    blobs_held,
    change,
    events_of,
    keys_held,
    log_of,
    send,
    sweep,
    transfer_row,
)

RETRY = timedelta(minutes=5)
EACH_TABLE = pytest.mark.parametrize("table", [transfers, files, shares], ids=lambda table: table.name)


@pytest.fixture
def alerts(monkeypatch):
    """What the sweeper says aloud of a transfer."""
    said: list[tuple[str, object]] = []
    for log, level in ((deletion.log, "exception"), (deletion_retry.log, "error")):
        say = lambda event, **fields: said.append((event, fields["transfer"]))  # noqa: E731 - one for both
        monkeypatch.setattr(log, level, say, raising=False)
    return said


@pytest.fixture
def sent(resources, caller):
    return [send(resources, caller) for _ in range(5)]


def set_state(resources, table, sent, state):
    change(resources, table, sent.share.id if table is shares else sent.id, state=state)


def tries(resources, sent):
    """How many tries have failed, and when the next is, of a row that cannot be read whole."""
    query = select(transfers.c.failures, transfers.c.due_at).where(transfers.c.id == sent.id)
    with resources.database.reading() as connection:
        return tuple(connection.execute(query).one())


@EACH_TABLE
def test_a_damaged_row_does_not_keep_the_others(resources, sent, time, alerts, table):
    """Lesson 3: an unknown state stopped every sweep (`job_failed` each second), and no transfer ended."""
    damaged = sent[2]
    set_state(resources, table, damaged, "liwe")
    time.pass_until(sent[-1].transfer.expires_at)
    report = sweep(resources)
    assert (report.deleted, report.failed, report.keys_left, report.succeeded) == (4, 1, 1, False)
    whole = [each for each in sent if each is not damaged]
    assert {transfer_row(resources, each.id).state for each in whole} == {TransferState.VERIFIED}
    assert alerts == [("sweep_failed", damaged.id), ("deletion_failed", damaged.id)]
    assert [(entry["transfer"], entry["outcome"]) for entry in log_of(resources, event="deletion.failed")] == [
        (damaged.id, "ValueError")
    ]


@EACH_TABLE
def test_a_damaged_row_is_tried_again_within_minutes_and_goes_once_it_is_mended(resources, sent, time, table):
    """And the sweeper's connection is as good as new: a read that stopped half-way must not hold an old state."""
    damaged = sent[2]
    set_state(resources, table, damaged, "liwe")
    time.pass_until(sent[-1].transfer.expires_at)
    for attempt in range(1, 12):
        assert sweep(resources).failed == 1
        failures, due_at = tries(resources, damaged)
        assert failures == attempt
        assert time() < due_at < time() + RETRY
        time.pass_until(due_at)
    set_state(resources, table, damaged, "issued" if table is shares else "live")
    report = sweep(resources)
    assert (report.deleted, report.failed, report.succeeded) == (1, 0, True)
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    assert events_of(resources, transfer=damaged.id).count("transfer.deleted") == 1


@EACH_TABLE
def test_the_keys_of_a_damaged_row_end_at_its_expiry_all_the_same(resources, sent, time, purge, table):
    """G1: the purge goes by the names in the vault, whatever the database says."""
    set_state(resources, table, sent[2], "liwe")
    time.pass_until(sent[-1].transfer.expires_at)
    purge()
    assert keys_held(resources) == set()


@EACH_TABLE
def test_the_report_is_never_clean_over_a_damaged_row(resources, sent, time, purge, table):
    set_state(resources, table, sent[2], "liwe")
    assert report_retention(resources, orphans=0).exit_code == 1
    time.pass_until(sent[2].transfer.expires_at - timedelta(minutes=1))
    sweep(resources)
    time.pass_by(timedelta(minutes=2))
    purge()
    sweep(resources)
    seen = report_retention(resources, orphans=0)
    assert (seen.failing, seen.overdue, seen.worst_lateness_s, seen.exit_code) == ([sent[2].id], 1, 60, 1)
    time.pass_by(resources.settings.deadman)
    sweep(resources)
    assert report_retention(resources, orphans=0).exit_code == 2


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", ["expires_at", "denied_at", "failures"])
def test_what_is_no_number_in_a_column_of_numbers_keeps_no_other_either(resources, sent, time, column):
    """SQLite takes anything anywhere. What ending a transfer writes over is no damage."""
    with resources.database.writing() as transaction:
        damage = text(f"UPDATE transfers SET {column} = 'soon' WHERE id = :id")
        transaction.connection.execute(damage, {"id": sent[2].id})
    time.pass_until(sent[-1].transfer.expires_at)
    report = sweep(resources)
    assert (report.deleted, report.failed) == ((4, 1) if column == "expires_at" else (5, 0))
    if report.failed:
        assert report_retention(resources, orphans=0).failing == [sent[2].id]
