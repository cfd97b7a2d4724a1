"""Database, blobs and vault belong together: a mistake in one of them stops the start."""

import shutil
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.actions.delete_transfer import delete_transfer
from app.actions.lock_down import lock_down, lockdown_since
from app.db import service_rows
from app.db.engine import Database
from app.db.errors import SchemaOutdated
from app.db.schema import current_revision
from app.db.tables import service_state
from app.domain.errors import ShareNotFound
from app.domain.vault_entry import EntryName
from app.runtime.clock import Clock
from app.runtime.installation import InstallationMismatch, NoInstallation, open_database_only, open_resources
from app.runtime.settings import Settings
from app.storage.errors import StorageError
from app.storage.vault_folder import VaultFolder
from tests.integration.actions.stories import blobs_held, claim, events_of, out_of_reach, run, send, sweep


def state_of(resources):
    with resources.database.reading() as connection:
        return service_rows.get(connection)


def test_a_fresh_installation_gets_an_id_in_all_three_stores_and_a_log(resources, time):
    state = state_of(resources)
    assert resources.blobs.installation() == resources.vault.installation() == state.installation_id
    assert (state.created_at, state.time_mark) == (time(), time())
    assert state.log_origin.startswith("caducee.log/")
    assert events_of(resources) == ["log.started"]


def test_further_processes_find_the_same_installation(start_service, resources):
    assert state_of(start_service()) == state_of(resources)
    assert events_of(resources) == ["log.started"]


def test_a_clock_set_back_while_the_service_was_down_is_noticed(start_service, resources, time):
    """Lesson 12."""
    mark = state_of(resources).time_mark
    time.pass_by(-3600)
    assert start_service().clock.now() == mark


@pytest.mark.parametrize("store", ["vault", "blobs"])
def test_an_unmounted_store_stops_the_start(start_service, resources, store):
    """An unmounted volume must not look like a fresh install, nor like one in which everything was destroyed."""
    with out_of_reach(resources.settings.data_dir / store):
        with pytest.raises((InstallationMismatch, StorageError)):
            start_service()
        (resources.settings.data_dir / store).mkdir(mode=0o700)
        with pytest.raises(InstallationMismatch, match=store):
            start_service()
        (resources.settings.data_dir / store).rmdir()
    start_service()


def test_a_store_that_is_exchanged_while_the_service_runs_proves_nothing(start_service, resources, caller, time):
    """Lesson 2: in another installation's vault no key of ours is found, which is no proof that it was destroyed."""
    running = start_service()
    sent = send(running, caller)
    vault = running.settings.vault_dir
    delete_transfer(running, sent.id, caller=caller)
    running.vault.create(EntryName(sent.id, sent.transfer.expires_at), bytes(32))
    with out_of_reach(vault):
        VaultFolder(vault).adopt("another-installation")
        report = sweep(running)
        shutil.rmtree(vault)
    assert (report.deleted, report.succeeded) == (0, False)
    assert "keys.destroyed" not in events_of(running)


@pytest.mark.parametrize("store", ["vault", "blobs"])
def test_another_installations_store_stops_the_start(start_service, resources, store):
    (resources.settings.data_dir / store / "installation").write_text("another-installation\n")
    with pytest.raises(InstallationMismatch, match=f"{store} belongs to another"):
        start_service()


def test_a_fresh_database_beside_a_used_vault_stops_the_start(start_service, resources, caller):
    """A mistyped database URL must not look like a fresh install: reconciliation would take all keys for orphans."""
    send(resources, caller)
    with resources.database.writing() as transaction:
        transaction.connection.execute(service_state.delete())
    with pytest.raises(InstallationMismatch, match="is this the right database"):
        start_service()


def test_a_start_that_was_cut_short_is_finished_by_the_next(start_service, resources):
    """Blobs and vault get the id first; if the database got none, it takes theirs."""
    before = state_of(resources)
    with resources.database.writing() as transaction:
        transaction.connection.execute(service_state.delete())
    assert state_of(start_service()).installation_id == before.installation_id
    shutil.rmtree(resources.settings.blobs_dir)
    with resources.database.writing() as transaction:
        transaction.connection.execute(service_state.delete())
    assert start_service().blobs.installation() == before.installation_id


def test_an_outdated_schema_stops_the_start(start_service, resources):
    newest = "0" * 4
    with resources.database.writing() as transaction:
        found = transaction.connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        transaction.connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": newest})
    try:
        with pytest.raises(SchemaOutdated, match="caducee db upgrade"):
            start_service()
    finally:
        with resources.database.writing() as transaction:
            transaction.connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": found})


def test_an_empty_database_is_built_and_taken_into_use(empty_database_url, tmp_path):
    resources = open_resources(Settings(data_dir=tmp_path / "data", database_url=empty_database_url))
    assert events_of(resources) == ["log.started"]
    resources.close()


def test_two_fresh_installations_share_nothing(start_service, tmp_path, resources, caller):
    """Lesson 22 (CentreStack CVE-2025-30406): no shared id, origin or key; a link of one opens nothing of the other."""
    sent = send(resources, caller)
    other = start_service(data_dir=tmp_path / "second", database_url=f"sqlite:///{tmp_path}/second/db/x.sqlite")
    mine, theirs = state_of(resources), state_of(other)
    assert mine.installation_id != theirs.installation_id
    assert mine.log_origin != theirs.log_origin
    with pytest.raises(ShareNotFound):
        run(claim(other, sent.share))


def test_another_place_for_blobs_is_refused_so_that_no_old_bytes_are_forgotten(resources, caller, time, start_service):
    """Lesson 5: change the storage, then expire old transfers: the old bytes go too (Pingvin Share looks in the current
    backend only). Here the change is refused; moved with its content, the store goes on.
    """
    sent = send(resources, caller, lifetime=timedelta(hours=1))
    old, new = resources.settings.blobs_dir, resources.settings.data_dir / "new-disk"
    with pytest.raises(InstallationMismatch):
        start_service(blobs=str(new))
    resources.close()
    old.rename(new)
    moved = start_service(blobs=str(new))
    time.pass_until(sent.transfer.expires_at)
    assert sweep(moved).deleted == 1
    assert blobs_held(moved) == set()


# The database alone


def test_the_database_alone_is_opened_where_every_other_store_is_gone(resources, tmp_path):
    shutil.rmtree(tmp_path / "vault")
    shutil.rmtree(tmp_path / "blobs")
    database = open_database_only(resources.settings)
    assert lock_down(database, Clock()) == lockdown_since(resources.database)
    database.close()
    assert not (tmp_path / "vault").exists()
    assert not (tmp_path / "blobs").exists()


def test_no_schema_is_built_by_opening_the_database_alone(empty_database_url, tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=SecretStr(empty_database_url))
    with pytest.raises((NoInstallation, SchemaOutdated)):
        open_database_only(settings)
    database = Database(empty_database_url)
    assert current_revision(database) is None
    database.close()


def test_a_schema_that_nobody_has_taken_into_use_is_not_opened_alone(database_url, tmp_path):
    with pytest.raises(NoInstallation):
        open_database_only(Settings(data_dir=tmp_path, database_url=SecretStr(database_url)))
