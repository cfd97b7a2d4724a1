"""Reconciliation: what belongs to nothing is found and destroyed, and an absent store is never taken for an empty one.

Lesson 4: a crash between row and bytes, in both orders, and a wiped database (Send never finds the orphans; Seafile
and Tahoe leave it to a manual job).
"""

import asyncio
import fcntl
import os
import shutil
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from app.actions.reconcile import PassResult, count_orphans, reconcile
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.db import service_rows
from app.db.tables import transfers
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle import witnesses
from app.runtime.installation import InstallationMismatch
from app.storage.errors import StorageError
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    blob_path,
    blobs_held,
    change,
    claim,
    deposit,
    fetch,
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

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def grace(resources):
    return resources.settings.orphan_grace


def last_written(path: Path, moment) -> None:
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def an_orphan_blob(resources, written_at, *, complete: bool = True) -> str:
    """Bytes that a crash has left behind, or a database that was restored from before them."""
    blob_id = new_id()
    path = blob_path(resources, blob_id) if complete else resources.settings.blobs_dir / "incoming" / blob_id
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"ciphertext")
    last_written(path, written_at)
    return blob_id


def an_orphan_key(resources) -> EntryName:
    name = EntryName(new_id(), resources.clock.now().replace(microsecond=0) + DAY)
    resources.vault.create(name, new_secret())
    return name


def looks(resources, **options) -> dict[str, PassResult]:
    return {look.what: look for look in reconcile(resources, **options)}


def destroyed(resources, **options) -> dict[str, int]:
    return {what: look.destroyed for what, look in looks(resources, **options).items()}


NOTHING = {"blobs": 0, "keys": 0, "rows": 0}


# What is left alone


def test_a_sound_installation_loses_nothing(resources, caller, time, grace):
    sent = send(resources, caller)
    a_transfer(resources, caller)
    last_written(blob_path(resources, files_of(resources, sent.id)[0].blob_id), time.moment)
    time.pass_by(2 * grace)
    assert [(look.held, look.orphans) for look in reconcile(resources)] == [(1, 0), (3, 0), (2, 0)]
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT
    assert log_of(resources, event="orphan.destroyed") == []


def test_an_upload_that_runs_for_hours_is_no_orphan(resources, caller, time, grace):
    transfer = a_transfer(resources, caller)

    async def body():
        yield CONTENT
        blob = resources.settings.blobs_dir / "incoming" / files_of(resources, transfer.id)[0].blob_id
        last_written(blob, time.moment)
        time.pass_by(5 * grace)
        looked = await asyncio.to_thread(reconcile, resources)
        assert [look.orphans for look in looked] == [0, 0, 0]
        with resources.database.writing() as transaction:  # the scheduler has swept all the while
            service_rows.record_sweep(transaction.connection, resources.clock.now())
        yield CONTENT

    assert run(deposit(resources, caller, transfer, body())).size == 2 * len(CONTENT)


def test_what_has_ended_and_is_not_swept_yet_is_left_to_the_sweeper(resources, caller, time, grace):
    sent = send(resources, caller, lifetime=MINUTE)
    last_written(blob_path(resources, files_of(resources, sent.id)[0].blob_id), time.moment)
    time.pass_by(2 * grace)
    assert destroyed(resources) == NOTHING
    assert sweep(resources).deleted == 1


# Orphans


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "incoming"])
def test_a_blob_without_a_row_goes_once_its_grace_has_passed(resources, time, grace, complete):
    old = an_orphan_blob(resources, time.moment - grace - MINUTE, complete=complete)
    young = an_orphan_blob(resources, time.moment - grace + MINUTE, complete=complete)
    assert looks(resources)["blobs"] == PassResult("blobs", held=2, orphans=1, destroyed=1)
    assert blobs_held(resources) == {young}
    assert old not in blobs_held(resources)
    assert [(entry["outcome"], entry["count"]) for entry in log_of(resources, event="orphan.destroyed")] == [
        ("blobs", 1)
    ]


def test_a_blob_of_a_deleted_transfer_that_came_back_goes(resources, caller, time, grace):
    """Somebody restores the blob store from a backup (lesson 11)."""
    sent = send(resources, caller, lifetime=MINUTE)
    path = blob_path(resources, files_of(resources, sent.id)[0].blob_id)
    copy = path.read_bytes()
    time.pass_by(HOUR)
    sweep(resources)
    path.write_bytes(copy)
    last_written(path, time.moment - 2 * grace)
    assert destroyed(resources) == NOTHING | {"blobs": 1}
    assert blobs_held(resources) == set()


def test_a_key_without_a_row_goes_at_once(resources, caller):
    """Rows are written before keys: no key is ever ahead of its row."""
    sent, orphan = send(resources, caller), an_orphan_key(resources)
    assert looks(resources)["keys"] == PassResult("keys", held=3, orphans=1, destroyed=1)
    assert orphan not in keys_held(resources)
    assert run(claim(resources, sent.share)).transfer_id == sent.id
    assert [entry["outcome"] for entry in log_of(resources, event="orphan.destroyed")] == ["keys"]


def test_a_key_of_a_share_that_has_ended_goes(resources, caller):
    """Somebody restores the vault from a backup that should not have held it."""
    sent = send(resources, caller)
    withdraw_share(resources, sent.share.id, caller=caller)
    sweep(resources)
    resources.vault.create(EntryName(sent.id, sent.share.expires_at, sent.share.id), new_secret())
    assert destroyed(resources) == NOTHING | {"keys": 1}
    assert keys_held(resources) == {EntryName(sent.id, sent.transfer.expires_at)}


@pytest.mark.parametrize("lost", ["key", "blob"])
def test_a_row_whose_key_or_bytes_are_gone_is_denied_once_its_grace_has_passed(resources, caller, time, grace, lost):
    sent, whole = send(resources, caller), send(resources, caller)
    for kept in files_of(resources, whole.id):
        last_written(blob_path(resources, kept.blob_id), time.moment)
    if lost == "key":
        resources.vault.destroy([EntryName(sent.id, sent.transfer.expires_at)])
    else:
        blob_path(resources, files_of(resources, sent.id)[0].blob_id).unlink()
    assert destroyed(resources) == NOTHING, "an upload may be between its row and its key"
    time.pass_by(grace + MINUTE)
    assert looks(resources)["rows"] == PassResult("rows", held=2, orphans=1, destroyed=1)
    row = transfer_row(resources, sent.id)
    assert (row.state, row.ending, row.owner_wrap) == (TransferState.DENIED, Ending.FAILED, None)
    assert sweep(resources).deleted == 1
    assert transfer_row(resources, whole.id).state == TransferState.LIVE
    assert run(fetch(resources, run(claim(resources, whole.share)))) == CONTENT


def test_a_stream_still_holds_the_orphan(resources, time, grace):
    """It is counted as not destroyed; the next look meets it again."""
    orphan = an_orphan_blob(resources, time.moment - 2 * grace)
    with blob_path(resources, orphan).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        look = looks(resources)["blobs"]
        assert (look.orphans, look.destroyed, look.failed, look.needs_confirmation) == (1, 0, 1, False)
    assert destroyed(resources) == NOTHING | {"blobs": 1}


def test_rows_about_to_expire_are_left_to_the_purge_and_the_sweeper(resources, caller, time, grace):
    """Between the look at a row and the look at its key the purge may have come by."""
    sent = send(resources, caller, lifetime=grace + HOUR)
    time.pass_until(sent.transfer.expires_at - MINUTE)
    key_path(resources, EntryName(sent.id, sent.transfer.expires_at)).unlink()
    assert [look.orphans for look in reconcile(resources)] == [0, 0, 0]
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


def test_open_rows_of_what_ended_by_the_log_are_ended_a_bounded_number_at_once(resources, caller, time, monkeypatch):
    """Neither the moved expiry nor the number of such rows keeps any of them open."""
    monkeypatch.setattr(witnesses, "HIDDEN_ENDS_KEPT", 1)
    hidden = [send(resources, caller, lifetime=HOUR) for _ in range(2)]
    for sent in hidden:
        change(resources, transfers, sent.id, expires_at=time.moment + DAY, due_at=time.moment + DAY)
    time.pass_by(HOUR)
    ended = []
    for _ in range(2):
        reconcile(resources)
        ended.append(sum(transfer_row(resources, sent.id).state == TransferState.DENIED for sent in hidden))
    assert ended == [1, 2]
    sweep(resources)
    assert (keys_held(resources), blobs_held(resources)) == (set(), set())


def test_counting_destroys_nothing(resources, time, grace):
    an_orphan_blob(resources, time.moment - 2 * grace)
    an_orphan_key(resources)
    assert [look.orphans for look in count_orphans(resources)] == [1, 1, 0]
    assert len(blobs_held(resources)) == len(keys_held(resources)) == 1
    assert log_of(resources, event="orphan.destroyed") == []


# So many that it is more likely a mistake


def test_twenty_orphans_are_destroyed_without_confirmation(resources, time, grace):
    for _ in range(20):
        an_orphan_blob(resources, time.moment - 2 * grace)
        an_orphan_key(resources)
    assert destroyed(resources) == NOTHING | {"blobs": 20, "keys": 20}


def test_twenty_one_orphans_wait_for_confirmation(resources, time, grace):
    for _ in range(21):
        an_orphan_blob(resources, time.moment - 2 * grace)
        an_orphan_key(resources)
    looked = looks(resources)
    assert [(look.destroyed, look.needs_confirmation, look.failed) for look in looked.values()] == [
        (0, True, 0),
        (0, True, 0),
        (0, False, 0),
    ]
    assert len(blobs_held(resources)) == len(keys_held(resources)) == 21
    assert log_of(resources, event="orphan.destroyed") == []
    assert destroyed(resources, confirmed=True) == NOTHING | {"blobs": 21, "keys": 21}
    assert keys_held(resources) == set()
    assert blobs_held(resources) == set()


def test_a_vault_emptied_by_mistake_denies_nothing_without_confirmation(resources, caller, time, grace):
    for _ in range(21):
        a_transfer(resources, caller)
    resources.vault.destroy_everything()
    time.pass_by(grace + MINUTE)
    assert looks(resources)["rows"].needs_confirmation
    assert destroyed(resources, confirmed=True) == NOTHING | {"rows": 21}
    assert sweep(resources).deleted == 21


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_thousands_stream_by_in_constant_memory_and_one_in_a_hundred_goes_by_itself(resources, time, grace):
    folder = resources.settings.blobs_dir / "incoming"
    for _ in range(5_000):
        (folder / new_id()).touch()  # written now, which is later than any clock of this test
    for _ in range(50):
        an_orphan_blob(resources, time.moment - 2 * grace)
    reconcile(resources)  # once before measuring: what is imported and compiled on first use does not count
    for _ in range(50):
        an_orphan_blob(resources, time.moment - 2 * grace)
    tracemalloc.start()
    look = looks(resources)["blobs"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (look.held, look.destroyed) == (5_050, 50)
    assert peak < 1 << 20, f"{peak} bytes"
    for _ in range(51):
        an_orphan_blob(resources, time.moment - 2 * grace)
    assert looks(resources)["blobs"].needs_confirmation


# An absent store is no empty store


@pytest.mark.parametrize("mount_point_stays", [False, True], ids=["gone", "empty mount point"])
@pytest.mark.parametrize("store", ["vault_dir", "blobs_dir"])
def test_an_unmounted_store_stops_it(resources, caller, time, grace, store, mount_point_stays):
    sent = send(resources, caller)
    blob = blob_path(resources, files_of(resources, sent.id)[0].blob_id)
    last_written(blob, time.moment)
    time.pass_by(2 * grace)
    folder = getattr(resources.settings, store)
    with out_of_reach(folder):
        if mount_point_stays:
            folder.mkdir()
        for look in (reconcile, count_orphans):
            with pytest.raises((InstallationMismatch, StorageError)):
                look(resources)
        if mount_point_stays:
            folder.rmdir()
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT


@pytest.mark.parametrize("store", ["vault_dir", "blobs_dir"])
def test_the_store_of_another_installation_stops_it(resources, caller, time, grace, store):
    orphan = an_orphan_blob(resources, time.moment - 2 * grace)
    (getattr(resources.settings, store) / "installation").write_text(new_id())
    for look in (reconcile, count_orphans):
        with pytest.raises((InstallationMismatch, StorageError)):
            look(resources)
    assert blob_path(resources, orphan).exists()


@pytest.mark.parametrize("left", ["blobs_dir", "vault_dir"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_wiped_database_beside_used_stores_does_not_start(
    resources, caller, start_service, built_sqlite, tmp_path, left
):
    """A mistyped database URL must not look like a fresh installation, and make orphans of everything."""
    send(resources, caller)
    other = "vault_dir" if left == "blobs_dir" else "blobs_dir"
    shutil.rmtree(getattr(resources.settings, other))
    wiped = tmp_path / "db" / "wiped.sqlite"
    shutil.copyfile(built_sqlite, wiped)
    with pytest.raises(InstallationMismatch):
        start_service(database_url=f"sqlite:///{wiped}")
