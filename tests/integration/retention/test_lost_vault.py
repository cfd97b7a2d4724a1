"""The disk of the vault died: a new one is taken into use on an operator's word, and on nothing less."""

import shutil
from datetime import timedelta

import pytest

from app.actions.accept_vault import VaultInUse, accept_vault, require_new_vault
from app.actions.keep_time import keep_time
from app.actions.reconcile import reconcile
from app.actions.report_retention import report_retention
from app.actions.verify_log import verify_log
from app.crypto.token import new_id, new_secret
from app.domain.clock import BELIEVED
from app.domain.errors import ShareWithdrawn, TransferEnded
from app.domain.transfer import Ending, TransferState
from app.domain.vault_entry import EntryName
from app.runtime.installation import InstallationMismatch, require_same_installation
from app.runtime.resources import Resources, connect
from app.storage.errors import VaultUnavailable
from app.storage.vault_folder import VaultFolder
from app.storage.vault_marks import read_high_water
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    blobs_held,
    claim,
    fetch,
    issue,
    keys_held,
    log_of,
    run,
    send,
    sweep,
    transfer_row,
)

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


@pytest.fixture
def sent(resources, caller):
    keep_time(resources)
    return send(resources, caller, lifetime=3 * HOUR)


@pytest.fixture(params=["gone", "empty", "fresh volume", "a scheduler looked in"])
def lost(resources, sent, request, tmp_path):
    """The vault's folder after its disk died; what was on it, elsewhere."""
    vault = resources.settings.vault_dir
    vault.rename(tmp_path / "died")
    if request.param != "gone":
        vault.mkdir()
    if request.param == "fresh volume":
        (vault / "lost+found").mkdir()
    if request.param == "a scheduler looked in":
        (vault / "marks").mkdir()
    return tmp_path / "died"


@pytest.fixture
def command(resources):
    """What the command works with: the stores, not yet proved to belong together."""
    connected: list[Resources] = []

    def start() -> Resources:
        connected.append(connect(resources.settings))
        return connected[-1]

    yield start
    for each in connected:
        each.close()


def test_without_acceptance_nothing_starts_and_nothing_is_called_destroyed(resources, sent, lost, start_service, time):
    with pytest.raises((InstallationMismatch, VaultUnavailable)):
        start_service()
    time.pass_by(3 * HOUR)
    sweep(resources)
    assert transfer_row(resources, sent.id).state == TransferState.DENIED


@pytest.mark.parametrize("lost", ["empty"], indirect=True)
def test_whoever_is_refused_is_told_of_the_command(lost, start_service):
    with pytest.raises(InstallationMismatch, match="caducee keys accept-vault"):
        start_service()


def test_everything_ends_and_the_service_goes_on(resources, caller, sent, lost, command, signing, monkeypatch):
    monkeypatch.setattr("app.actions.accept_vault.PAGE", 1)
    receiving = a_transfer_before(resources, caller, lost)
    assert accept_vault(command()) == 2
    for transfer_id in (sent.id, receiving):
        row = transfer_row(resources, transfer_id)
        assert (row.state, row.ending, row.owner_wrap) == (TransferState.DENIED, Ending.FAILED, None)
    assert [entry["count"] for entry in log_of(resources, event="vault.replaced")] == [2]
    with pytest.raises(ShareWithdrawn):
        run(claim(resources, sent.share))
    with pytest.raises(TransferEnded):
        run(issue(resources, caller, sent.transfer))
    keep_time(resources)
    assert sweep(resources).deleted == 2
    assert blobs_held(resources) == set()
    assert report_retention(resources, orphans=0).exit_code == 0
    again = send(resources, caller)
    assert run(fetch(resources, run(claim(resources, again.share)))) == CONTENT
    assert verify_log(resources, signing).problem is None


def a_transfer_before(resources, caller, died):
    """Opened while the old vault was still there."""
    vault = resources.settings.vault_dir
    aside = vault.with_name("aside")
    if vault.exists():
        vault.rename(aside)
    died.rename(vault)
    transfer = a_transfer(resources, caller)
    vault.rename(died)
    if aside.exists():
        aside.rename(vault)
    return transfer.id


def test_a_restart_finds_three_stores_that_belong_together(resources, lost, command, start_service):
    accept_vault(command())
    restarted = start_service()
    require_same_installation(restarted)
    assert (restarted.settings.vault_dir / "CACHEDIR.TAG").is_file()
    assert read_high_water(restarted.vault) is not None


def test_the_new_vault_remembers_the_accepted_time_and_not_the_host_s(resources, lost, command, time, start_service):
    """The signer's folder remembers it from the vault that was lost."""
    before = resources.clock.now()
    time.leap(YEAR)
    accept_vault(command())
    remembered = read_high_water(resources.vault)
    assert remembered is not None
    assert before <= remembered.at <= before + BELIEVED


def test_killed_in_the_middle_it_is_begun_again(resources, sent, lost, command, monkeypatch):
    def die(_vault, _installation_id):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(VaultFolder, "adopt", die)
        with pytest.raises(KeyboardInterrupt):
            accept_vault(command())
    assert transfer_row(resources, sent.id).state == TransferState.DENIED
    assert accept_vault(command()) == 0
    assert sweep(resources).deleted == 1


@pytest.mark.parametrize("lost", ["empty"], indirect=True)
def test_the_old_disk_mounted_again_by_mistake_loses_its_keys(resources, sent, lost, command):
    accept_vault(command())
    keep_time(resources)
    sweep(resources)
    shutil.rmtree(resources.settings.vault_dir)
    lost.rename(resources.settings.vault_dir)
    assert len(keys_held(resources)) == 2
    assert [look.destroyed for look in reconcile(resources) if look.what == "keys"] == [2]
    assert keys_held(resources) == set()


# What is no new vault


def test_a_vault_in_use_is_refused(resources, sent, command):
    with pytest.raises(VaultInUse, match="nothing is lost"):
        accept_vault(command())
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


@pytest.mark.parametrize("lost", ["gone"], indirect=True)
def test_another_installation_s_vault_is_refused(resources, sent, lost, command):
    VaultFolder(resources.settings.vault_dir).adopt(new_id())
    with pytest.raises(VaultInUse):
        require_new_vault(command())


@pytest.mark.parametrize("lost", ["gone"], indirect=True)
def test_a_vault_that_has_only_lost_its_file_is_refused(resources, sent, lost, command):
    """Keys are there: somebody must look, and put the file back."""
    lost.rename(resources.settings.vault_dir)
    (resources.settings.vault_dir / "installation").unlink()
    with pytest.raises(VaultInUse, match=" lies in it"):
        accept_vault(command())
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


@pytest.mark.parametrize("lost", ["gone"], indirect=True)
def test_a_database_of_another_installation_is_refused(resources, sent, lost, command):
    """A mistyped URL must not end somebody else's transfers."""
    (resources.settings.blobs_dir / "installation").write_text(f"{new_id()}\n", encoding="ascii")
    with pytest.raises(InstallationMismatch):
        accept_vault(command())
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


def test_a_key_can_be_put_into_the_new_vault(resources, sent, lost, command):
    accept_vault(command())
    resources.vault.create(EntryName(new_id(), sent.transfer.expires_at), new_secret())
    assert len(keys_held(resources)) == 1
