"""The sweep when things fail: others go on, nothing reads "deleted" before it is, and it is loud until it is done."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.actions import sweep as sweeping
from app.actions.delete_transfer import delete_transfer
from app.actions.withdraw_share import withdraw_share
from app.db import retention_figures, service_rows, transfer_rows
from app.db.errors import DatabaseUnavailable
from app.db.tables import transfers
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle import deletion, deletion_retry
from app.runtime.fault_points import POINTS, on_reach
from app.storage.errors import BlobUnavailable
from app.storage.local_disk import LocalDisk
from tests.integration.actions.stories import (
    a_transfer,
    abandon_upload,
    blob_path,
    blobs_held,
    change,
    claim,
    claim_row,
    count_rows,
    events_of,
    fetch,
    files_of,
    key_path,
    keys_held,
    log_of,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)

RETRY = timedelta(minutes=5)


@pytest.fixture
def alerts(monkeypatch):
    """What the sweeper says aloud."""
    said: list[tuple[str, dict[str, object]]] = []
    for log, level in ((deletion.log, "exception"), (deletion_retry.log, "error")):
        monkeypatch.setattr(log, level, lambda event, **fields: said.append((event, fields)), raising=False)
    return said


def last_sweep_at(resources):
    with resources.database.reading() as connection:
        return service_rows.get(connection).last_sweep_at


def obstruct(path):
    """Put a folder in a file's place: not even root removes it as a file."""
    path.unlink()
    path.mkdir()
    (path / "resists").touch()


def clear(path):
    (path / "resists").unlink()
    path.rmdir()


def blob_of(resources, sent):
    return blob_path(resources, files_of(resources, sent.id)[0].blob_id)


def key_of(resources, sent):
    return key_path(resources, EntryName(sent.id, sent.transfer.expires_at))


# Bytes that resist


def test_bytes_that_resist_never_read_deleted_and_are_tried_again_within_minutes(resources, caller, sent, time, alerts):
    """Lesson 2 (FileSender and France Transfert announce first and delete after)."""
    obstruct(blob_of(resources, sent))
    delete_transfer(resources, sent.id, caller=caller)
    for attempt in range(1, 12):
        report = sweep(resources)
        row = transfer_row(resources, sent.id)
        assert (report.deleted, report.failed) == (0, 1)
        assert (row.state, row.failures, row.verified_at) == (TransferState.KEYS_DESTROYED, attempt, None)
        assert row.due_at is not None
        assert time() < row.due_at < time() + RETRY
        time.pass_until(row.due_at)
    assert len(alerts) == 11
    assert all(fields["alert"] and fields["transfer"] == sent.id for _, fields in alerts)
    assert events_of(resources, transfer=sent.id).count("deletion.failed") == 1
    assert "transfer.deleted" not in events_of(resources)
    assert "bytes.deleted" not in events_of(resources)
    clear(blob_of(resources, sent))
    assert sweep(resources).deleted == 1
    row = transfer_row(resources, sent.id)
    assert (row.state, row.failures) == (TransferState.VERIFIED, 0)
    assert events_of(resources, transfer=sent.id)[-2:] == ["bytes.deleted", "transfer.deleted"]


def test_bytes_that_resist_stop_deposits_only_after_an_hour(resources, caller, sent, time):
    """docs/deletion.md: bytes without a key alert at once, and make sweeps count as failed after an hour."""
    obstruct(blob_of(resources, sent))
    delete_transfer(resources, sent.id, caller=caller)
    assert sweep(resources).succeeded
    time.pass_by(timedelta(hours=1))
    report = sweep(resources)
    assert (report.succeeded, report.bytes_left) == (True, 0)
    good = time()
    time.pass_by(timedelta.resolution)
    report = sweep(resources)
    assert (report.succeeded, report.bytes_left) == (False, 1)
    assert last_sweep_at(resources) == good


def test_the_first_that_fails_does_not_keep_the_others(resources, caller, time):
    """Lesson 3 (Bitwarden, Pingvin Share and transfer.sh stop at the first)."""
    sent = [send(resources, caller) for _ in range(8)]
    obstruct(blob_of(resources, sent[0]))
    obstruct(blob_of(resources, sent[5]))
    time.pass_until(sent[-1].transfer.expires_at)
    report = sweep(resources)
    assert (report.ended, report.deleted, report.failed) == (8, 6, 2)
    states = [transfer_row(resources, each.id).state for each in sent]
    assert states == [TransferState.KEYS_DESTROYED if n in {0, 5} else TransferState.VERIFIED for n in range(8)]
    assert len(log_of(resources, event="transfer.deleted")) == 6
    assert keys_held(resources) == set()


def test_a_store_that_raises_for_one_does_not_keep_the_others(resources, caller, time, monkeypatch, alerts):
    """Lesson 3: the first of 100 raises, the other 99 are gone."""
    sent = [send(resources, caller) for _ in range(6)]
    poison, real = files_of(resources, sent[2].id)[0].blob_id, LocalDisk.delete

    async def delete(self, blob_ids, *, force=False):
        if poison in blob_ids:
            raise RuntimeError("a bug")
        return await real(self, blob_ids, force=force)

    time.pass_until(sent[-1].transfer.expires_at)
    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "delete", delete)
        report = sweep(resources)
    assert (report.deleted, report.failed) == (5, 1)
    row = transfer_row(resources, sent[2].id)
    assert (row.state, row.failures) == (TransferState.KEYS_DESTROYED, 1)
    assert [event for event, fields in alerts if fields["transfer"] == sent[2].id] == [
        "sweep_failed",
        "deletion_failed",
    ]
    assert {entry["outcome"] for entry in log_of(resources, event="deletion.failed")} == {"RuntimeError"}
    time.pass_until(row.due_at)
    assert sweep(resources).deleted == 1


def test_bytes_found_at_the_second_look_are_not_deleted_bytes(resources, caller, sent, time, monkeypatch):
    """A store that says "gone" and keeps them."""

    async def pretend(self, blob_ids, *, force=False):
        return {}

    delete_transfer(resources, sent.id, caller=caller)
    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "delete", pretend)
        report = sweep(resources)
    assert (report.deleted, report.failed) == (0, 1)
    assert transfer_row(resources, sent.id).state != TransferState.VERIFIED
    assert "transfer.deleted" not in events_of(resources)


def test_a_pretended_deletion_is_finished_once_the_store_obeys(resources, caller, sent, time, monkeypatch):
    """Lesson 2: `bytes_deleted` was noted, and was not so: the next try must delete again, not only look again."""

    async def pretend(self, blob_ids, *, force=False):
        return {}

    delete_transfer(resources, sent.id, caller=caller)
    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "delete", pretend)
        sweep(resources)
    time.pass_by(RETRY)
    assert sweep(resources).deleted == 1
    assert blobs_held(resources) == set()


def test_without_the_blob_store_nothing_reads_deleted(resources, caller, sent, time):
    """Lesson 2: an unmounted volume is no proof of deletion."""
    delete_transfer(resources, sent.id, caller=caller)
    with out_of_reach(resources.settings.blobs_dir):
        report = sweep(resources)
        assert (report.deleted, report.failed, report.succeeded) == (0, 1, True)
        resources.settings.blobs_dir.mkdir()  # the empty mount point
        time.pass_by(RETRY)
        assert sweep(resources).deleted == 0
        resources.settings.blobs_dir.rmdir()
    assert transfer_row(resources, sent.id).state == TransferState.KEYS_DESTROYED
    time.pass_by(RETRY)
    assert sweep(resources).deleted == 1


# Keys that resist


def test_keys_that_resist_make_no_sweep_a_success_until_they_are_gone(resources, caller, sent, time, alerts):
    """Lesson 2, G1: on the next sweeps too, while the retry waits; then the dead-man's switch stops deposits."""
    before = last_sweep_at(resources)
    obstruct(key_of(resources, sent))
    time.pass_until(sent.transfer.expires_at)
    report = sweep(resources)
    assert (report.ended, report.deleted, report.failed, report.keys_left) == (1, 0, 1, 1)
    assert not report.succeeded
    row = transfer_row(resources, sent.id)
    assert (row.state, row.failures) == (TransferState.DENIED, 1)
    for _ in range(3):
        time.pass_by(0.1)  # nothing is due
        report = sweep(resources)
        assert (report.failed, report.keys_left, report.succeeded) == (0, 1, False)
    assert last_sweep_at(resources) == before
    assert "keys.destroyed" not in events_of(resources)
    assert blobs_held(resources) != set()  # the order of deletion: keys first
    assert {entry["outcome"] for entry in log_of(resources, event="deletion.failed")} == {"key_left"}
    clear(key_of(resources, sent))
    time.pass_by(RETRY)
    report = sweep(resources)
    assert (report.deleted, report.keys_left, report.succeeded) == (1, 0, True)
    assert last_sweep_at(resources) == time()


def test_the_key_of_an_ended_share_counts_though_its_transfer_lives_on(resources, caller, sent, time):
    obstruct(key_path(resources, EntryName(sent.id, sent.transfer.expires_at, sent.share.id)))
    withdraw_share(resources, sent.share.id, caller=caller)
    report = sweep(resources)
    assert (report.failed, report.keys_left, report.succeeded) == (1, 1, False)
    assert share_row(resources, sent.share.id).keys_destroyed_at is None
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    clear(key_path(resources, EntryName(sent.id, sent.transfer.expires_at, sent.share.id)))
    time.pass_by(RETRY)
    assert sweep(resources).succeeded
    assert share_row(resources, sent.share.id).keys_destroyed_at == time()
    assert events_of(resources, share=sent.share.id)[-1] == "share.keys_destroyed"


def test_without_the_key_vault_nothing_reads_destroyed(resources, sent, time):
    """An unmounted vault looks like one in which everything was destroyed."""
    time.pass_until(sent.transfer.expires_at)
    with out_of_reach(resources.settings.vault_dir):
        report = sweep(resources)
        assert (report.deleted, report.failed, report.succeeded) == (0, 1, False)
        resources.settings.vault_dir.mkdir()  # the empty mount point
        time.pass_by(RETRY)
        report = sweep(resources)
        assert (report.deleted, report.succeeded) == (0, False)
        resources.settings.vault_dir.rmdir()
    assert transfer_row(resources, sent.id).state == TransferState.DENIED
    assert "keys.destroyed" not in events_of(resources)
    assert keys_held(resources) != set()
    time.pass_by(RETRY)
    assert (sweep(resources).deleted, keys_held(resources)) == (1, set())


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_wrapped_key_that_a_reader_keeps_in_the_log_is_not_destroyed(resources, caller, sent, time):
    """G2: wal_checkpoint(TRUNCATE) answers busy=1 and raises nothing."""
    with resources.database.reading() as connection:
        retention_figures.count_by_state(connection)
        delete_transfer(resources, sent.id, caller=caller)
        report = sweep(resources)
    assert (report.deleted, report.failed, report.keys_left, report.succeeded) == (0, 1, 1, False)
    assert transfer_row(resources, sent.id).state == TransferState.DENIED
    assert {entry["outcome"] for entry in log_of(resources, event="deletion.failed")} == {"key_in_wal"}
    time.pass_by(RETRY)
    assert sweep(resources).deleted == 1


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_after_a_sweep_no_wrapped_key_is_in_the_database_or_its_log(resources, sent, time):
    """G2."""
    run(claim(resources, sent.share))
    secrets = [
        transfer_row(resources, sent.id).owner_wrap or b"",
        share_row(resources, sent.share.id).wrapped_key or b"",
        claim_row(resources, sent.share.id).wrapped_key or b"",
        files_of(resources, sent.id)[0].sealed_meta or b"",
    ]
    assert b"" not in secrets
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    folder = resources.database.file.parent
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert [secret for secret in secrets if secret in stored] == []


# Streams that still run


def test_a_blob_that_is_being_read_makes_its_transfer_wait_without_an_alarm(resources, caller, sent, time, alerts):
    """docs/deletion.md: `verified` waits for this node's own streams to have stopped."""
    blob_id = files_of(resources, sent.id)[0].blob_id
    reader = run(resources.blobs.open(blob_id))
    delete_transfer(resources, sent.id, caller=caller)
    report = sweep(resources)
    row = transfer_row(resources, sent.id)
    assert (report.deleted, report.failed, report.succeeded) == (0, 0, True)
    assert (row.state, row.failures, row.due_at) == (TransferState.KEYS_DESTROYED, 0, time() + timedelta(seconds=1))
    assert alerts == []
    assert keys_held(resources) == set()
    reader.close()
    time.pass_by(1)
    assert sweep(resources).deleted == 1
    assert "deletion.failed" not in events_of(resources)


def test_a_stream_that_does_not_stop_becomes_an_alarm(resources, caller, sent, time, alerts):
    reader = run(resources.blobs.open(files_of(resources, sent.id)[0].blob_id))
    delete_transfer(resources, sent.id, caller=caller)
    for _ in range(11):
        sweep(resources)
        time.pass_by(1)
    sweep(resources)
    assert transfer_row(resources, sent.id).failures == 1
    assert [event for event, _ in alerts] == ["deletion_failed"]
    reader.close()


# Crashes between the steps


class Crash(BaseException):
    """The process dies here."""


STEPS = [point for point in POINTS if point.startswith("deletion.")]


def crash():
    raise Crash


def fail():
    raise RuntimeError("a bug")


@pytest.mark.parametrize("point", STEPS)
def test_a_sweep_that_dies_between_any_two_steps_is_taken_up_by_the_next(resources, caller, time, point):
    """Lesson 4: a crash between row and bytes, in both orders; nothing is lost, nothing is told twice."""
    sent = [send(resources, caller) for _ in range(3)]
    run(claim(resources, sent[1].share))
    time.pass_until(sent[-1].transfer.expires_at)
    with on_reach(point, crash), pytest.raises(Crash):
        sweep(resources)
    time.pass_by(deletion.TAKEN_FOR)
    sweep(resources)
    assert {transfer_row(resources, each.id).state for each in sent} == {TransferState.VERIFIED}
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())
    for each in sent:
        events = events_of(resources, transfer=each.id)
        for event in ("share.expired", "transfer.denied", "keys.destroyed", "bytes.deleted", "transfer.deleted"):
            assert events.count(event) == 1
    assert last_sweep_at(resources) == time()


@pytest.mark.parametrize("point", STEPS)
def test_a_step_that_raises_is_retried_and_counted(resources, sent, time, point):
    """Whatever it is: a failing step is retried within 5 minutes and never hides the others."""
    time.pass_until(sent.transfer.expires_at)
    with on_reach(point, fail):
        assert sweep(resources).failed == 1
        assert transfer_row(resources, sent.id).failures == 1
    time.pass_by(RETRY)
    sweep(resources)
    row = transfer_row(resources, sent.id)
    assert (row.state, row.failures) == (TransferState.VERIFIED, 0)
    assert events_of(resources, transfer=sent.id).count("transfer.deleted") == 1


def test_a_sweep_without_the_database_raises_and_counts_for_nothing(resources, sent, time, monkeypatch):
    """Lesson 1: then the vault's own purge is what ends the keys."""
    before = last_sweep_at(resources)

    def unavailable(*_given):
        raise DatabaseUnavailable("gone")

    time.pass_until(sent.transfer.expires_at)
    with monkeypatch.context() as patch:
        patch.setattr(transfer_rows, "anything_due", unavailable)
        with pytest.raises(DatabaseUnavailable):
            sweep(resources)
    assert last_sweep_at(resources) == before


def test_what_one_sweep_has_taken_is_left_to_it_for_a_while(resources, caller, sent, time):
    delete_transfer(resources, sent.id, caller=caller)
    with on_reach("deletion.taken", crash), pytest.raises(Crash):
        sweep(resources)
    time.pass_by(deletion.TAKEN_FOR - timedelta.resolution)
    assert sweep(resources).deleted == 0
    time.pass_by(timedelta.resolution)
    assert sweep(resources).deleted == 1


def test_abandoned_uploads_whose_bytes_resist_keep_their_rows_and_are_loud(
    resources, caller, time, monkeypatch, alerts
):
    """Lesson 4: bytes without a row would be an orphan."""
    transfer = a_transfer(resources, caller)
    abandon_upload(resources, caller, transfer.id)

    async def refuse(self, blob_ids, *, force=False):
        return {blob_id: BlobUnavailable("I/O error") for blob_id in blob_ids}

    time.pass_by(timedelta(minutes=1))
    with monkeypatch.context() as patch:
        patch.setattr(LocalDisk, "delete", refuse)
        report = sweep(resources)
        assert (report.failed, report.succeeded) == (1, True)
        assert [event for event, _ in alerts] == ["deletion_failed"]
        time.pass_by(sweeping.BYTES_COUNT_AFTER + timedelta(minutes=1))
        assert not sweep(resources).succeeded, "after an hour deposits stop"
    assert len(files_of(resources, transfer.id)) == 1
    time.pass_by(RETRY)
    assert sweep(resources).succeeded
    assert (files_of(resources, transfer.id), blobs_held(resources)) == ([], set())
    assert transfer_row(resources, transfer.id).failures == 0


def test_a_retry_is_never_scheduled_past_the_next_due_moment(resources, caller, sent, time):
    """The key of a withdrawn share resists for long; its transfer's own expiry is not put off with it."""
    obstruct(key_path(resources, EntryName(sent.id, sent.transfer.expires_at, sent.share.id)))
    withdraw_share(resources, sent.share.id, caller=caller)
    change(resources, transfers, sent.id, failures=20)
    time.pass_until(sent.transfer.expires_at - timedelta(seconds=30))
    sweep(resources)
    assert transfer_row(resources, sent.id).due_at == sent.transfer.expires_at


def test_a_retry_after_an_exception_is_never_scheduled_past_the_next_due_moment(resources, caller, sent, time):
    withdraw_share(resources, sent.share.id, caller=caller)
    change(resources, transfers, sent.id, failures=20)
    time.pass_until(sent.transfer.expires_at - timedelta(seconds=30))
    with on_reach("deletion.loaded", fail):
        assert sweep(resources).failed == 1
    assert transfer_row(resources, sent.id).due_at == sent.transfer.expires_at


def test_a_failing_transfer_is_named_until_it_is_done_and_others_are_fetched_meanwhile(resources, caller, sent, time):
    other = send(resources, caller)
    obstruct(key_of(resources, sent))
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    with resources.database.reading() as connection:
        assert retention_figures.failing(connection, 10) == [sent.id]
    claimed = run(claim(resources, other.share))
    assert run(fetch(resources, claimed))
    assert share_row(resources, other.share.id).state == ShareState.CLAIMED
    assert count_rows(resources, transfers) == 2


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.timeout(30)
def test_a_row_that_is_always_due_does_not_keep_a_sweep_from_ending(resources, caller):
    """A trigger, or somebody who repeats one UPDATE."""
    sent, other = send(resources, caller), send(resources, caller)
    with resources.database.writing() as transaction:
        body = "BEGIN UPDATE transfers SET due_at = 1 WHERE id = NEW.id; END"
        when = f"WHEN NEW.id = '{sent.id}' AND NEW.due_at > 1"
        made = f"CREATE TRIGGER always_due AFTER UPDATE OF due_at ON transfers {when} {body}"
        transaction.connection.execute(text(made))
        transaction.connection.execute(text(f"UPDATE transfers SET due_at = 2 WHERE id = '{sent.id}'"))
    delete_transfer(resources, other.id, caller=caller)
    assert sweep(resources).deleted == 1
