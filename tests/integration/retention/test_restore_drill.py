"""The restore drill: a backup is restored into a folder of its own, and nothing that has ended can be read from it."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from app.actions.drill_restore import drill_restore
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_secret
from app.db import service_rows
from app.domain.vault_entry import EntryName
from app.runtime.installation import InstallationMismatch
from app.storage.errors import VaultUnavailable
from tests.integration.actions.stories import events_of, issue, log_of, out_of_reach, run, send, sweep
from tests.integration.retention.backups import back_up

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def ended(resources, caller):
    """It will be over by the time of the drill."""
    return send(resources, caller, lifetime=HOUR)


@pytest.fixture
def going_on(resources, caller):
    return send(resources, caller)


@pytest.fixture
def restored(resources, ended, going_on, time, tmp_path):
    """Yesterday's backup of database and blobs, in a folder of its own; one of its two transfers has ended since."""
    folder = tmp_path / "restored"
    back_up(resources, folder / "db" / "caducee.sqlite")
    shutil.copytree(resources.settings.blobs_dir, folder / "blobs")
    time.pass_by(HOUR)
    sweep(resources)
    return folder


def last_drill(resources):
    with resources.database.reading() as connection:
        return service_rows.get(connection).last_drill_at


def test_a_clean_backup_passes_and_it_is_recorded(resources, restored, time, monkeypatch):
    monkeypatch.setattr("app.db.restored_rows.PAGE", 1)
    result = drill_restore(resources, restored)
    assert (result.transfers, result.ended, result.shares_ended, result.findings) == (2, 1, 1, [])
    assert result.passed
    assert last_drill(resources) == time.moment
    assert [entry["count"] for entry in log_of(resources, event="drill.passed")] == [1]


def test_a_backup_in_which_nothing_has_ended_does_not_pass(resources, going_on, tmp_path):
    """There was nothing to find: whoever files that as a proof fools himself."""
    back_up(resources, tmp_path / "fresh" / "caducee.sqlite")
    result = drill_restore(resources, tmp_path / "fresh")
    assert (result.transfers, result.ended, result.shares_ended, result.findings) == (1, 0, 0, [])
    assert result.proved_nothing
    assert not result.passed
    assert last_drill(resources) is None
    assert [entry["outcome"] for entry in log_of(resources, event="drill.failed")] == ["proved_nothing"]


def test_what_had_ended_before_the_backup_proves_nothing_either(resources, ended, going_on, time, tmp_path):
    """Its keys were gone from the database already: no wrap of it is in the backup."""
    time.pass_by(HOUR)
    sweep(resources)
    back_up(resources, tmp_path / "late" / "caducee.sqlite")
    result = drill_restore(resources, tmp_path / "late")
    assert (result.transfers, result.ended) == (2, 0)
    assert result.proved_nothing


def test_a_share_that_ended_since_is_enough_to_look_for(resources, going_on, caller, tmp_path):
    back_up(resources, tmp_path / "fresh" / "caducee.sqlite")
    withdraw_share(resources, going_on.share.id, caller=caller)
    result = drill_restore(resources, tmp_path / "fresh")
    assert (result.ended, result.shares_ended) == (0, 1)
    assert result.passed


def test_a_vault_file_is_found_though_nothing_has_ended(resources, going_on, tmp_path):
    back_up(resources, tmp_path / "fresh" / "caducee.sqlite")
    (tmp_path / "fresh" / "purge-time").touch()
    result = drill_restore(resources, tmp_path / "fresh")
    assert (len(result.findings), result.proved_nothing, result.passed) == (1, False, False)


def test_the_database_file_alone_is_no_backup_to_be_drilled(resources, restored):
    """There is nothing in it to look for the vault in, though it may lie right beside it."""
    with pytest.raises(NotADirectoryError, match="name the one that the whole backup was restored into"):
        drill_restore(resources, restored / "db" / "caducee.sqlite")
    assert last_drill(resources) is None
    assert events_of(resources, event="drill.passed") == []


def test_an_archive_in_the_backup_fails_and_is_named(resources, restored):
    archive = shutil.make_archive(str(restored / "vault"), "gztar", resources.settings.vault_dir)
    result = drill_restore(resources, restored)
    assert result.findings == [f"could not be looked into (packed, encrypted or of unknown kind): {archive}"]
    assert not result.passed
    assert last_drill(resources) is None


def test_a_link_to_the_vault_in_the_backup_fails(resources, restored):
    (restored / "vault").symlink_to(resources.settings.vault_dir)
    result = drill_restore(resources, restored)
    assert [finding.rpartition(": ")[2] for finding in result.findings] == [str(restored / "vault")]
    assert not result.passed


def test_a_backup_that_is_still_packed_is_refused_and_named(resources, restored, tmp_path):
    (tmp_path / "packed").mkdir()
    archive = shutil.make_archive(str(tmp_path / "packed" / "backup"), "gztar", restored)
    with pytest.raises(FileNotFoundError, match="holds 0 databases") as refused:
        drill_restore(resources, tmp_path / "packed")
    assert archive in str(refused.value)


@pytest.mark.parametrize("copied", ["all of it", "one entry", "hour.key", "high-water"])
def test_a_file_of_the_vault_in_the_backup_fails(resources, restored, going_on, copied):
    vault = resources.settings.vault_dir
    resources.vault.write_mark("{}")
    if copied == "all of it":
        shutil.copytree(vault, restored / "vault")
    else:
        pattern = f"*.{going_on.id}" if copied == "one entry" else copied
        found = next(vault.rglob(pattern))
        (restored / "deep" / "inside").mkdir(parents=True)
        shutil.copy(found, restored / "deep" / "inside")
    result = drill_restore(resources, restored)
    assert result.findings
    assert all("a file of the vault is in the backup" in finding for finding in result.findings)
    assert last_drill(resources) is None
    assert events_of(resources, event="drill.failed") == ["drill.failed"]


@pytest.mark.parametrize("of_share", [False, True], ids=["transfer", "share"])
def test_a_key_of_an_ended_transfer_that_is_still_in_the_vault_fails(resources, restored, ended, of_share):
    resources.vault.create(
        EntryName(ended.id, ended.transfer.expires_at, ended.share.id if of_share else None), new_secret()
    )
    assert drill_restore(resources, restored).findings == [f"the vault still opens {ended.id}"]


def test_a_key_of_a_share_that_ended_since_fails_though_its_transfer_goes_on(resources, restored, going_on, caller):
    """The backup has its wrap, and whoever kept link and password would need no more."""
    withdraw_share(resources, going_on.share.id, caller=caller)
    sweep(resources)
    result = drill_restore(resources, restored)
    assert (result.ended, result.shares_ended, result.findings) == (1, 2, [])
    resources.vault.create(EntryName(going_on.id, going_on.share.expires_at, going_on.share.id), new_secret())
    assert drill_restore(resources, restored).findings == [f"the vault still opens {going_on.id}"]


def test_a_share_issued_since_is_no_finding(resources, restored, going_on, caller):
    run(issue(resources, caller, going_on.transfer))
    assert drill_restore(resources, restored).findings == []


def test_a_transfer_that_today_s_database_does_not_know_has_ended(resources, restored, going_on):
    """The backup is of another database, or the row was removed by hand; its keys are no less dangerous."""
    with resources.database.writing() as transaction:
        for table in ("claims", "shares", "files", "transfers"):
            column = "id" if table == "transfers" else "transfer_id"
            transaction.connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = '{going_on.id}'")
    assert len(drill_restore(resources, restored).findings) == 2


def test_what_cannot_be_looked_at_has_not_passed(resources, restored, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        drill_restore(resources, tmp_path / "empty")
    shutil.copy(restored / "db" / "caducee.sqlite", restored / "second.sqlite")
    with pytest.raises(FileNotFoundError, match="2 databases"):
        drill_restore(resources, restored)
    (restored / "second.sqlite").unlink()
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultUnavailable):
        drill_restore(resources, restored)
    assert last_drill(resources) is None
    assert events_of(resources, event="drill.passed") == []


def test_another_installations_backup_is_refused(resources, restored):
    """Its keys were never in our vault: it would pass without proving anything."""
    with closing(sqlite3.connect(restored / "db" / "caducee.sqlite")) as database, database:
        database.execute("UPDATE service_state SET installation_id = 'BBBBBBBBBBBBBBBBBBBBBB'")
    with pytest.raises(InstallationMismatch, match="belongs to another installation"):
        drill_restore(resources, restored)
    assert last_drill(resources) is None
