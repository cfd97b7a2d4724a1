"""The vault's own purge: the end of every key, whatever has become of the database and the sweeper."""

import shutil
from datetime import timedelta

import pytest

from app.actions import expire_keys as module
from app.actions.expire_keys import expire_keys
from app.db.tables import shares, transfers
from app.domain.errors import ShareExpired
from app.domain.vault_entry import EntryName
from app.runtime.clock import Clock
from app.storage.errors import VaultUnavailable
from app.storage.vault_folder import VaultFolder
from tests.integration.actions.stories import (
    change,
    claim,
    key_path,
    keys_held,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)


def test_keys_end_at_their_second_and_no_others(resources, caller, time):
    soon, later = (send(resources, caller, lifetime=timedelta(minutes=minutes)) for minutes in (10, 30))
    time.pass_until(soon.transfer.expires_at - timedelta(seconds=1))
    assert expire_keys(resources.vault, Clock(time, time.uptime)).removed == 0
    time.pass_by(1)
    report = expire_keys(resources.vault, Clock(time, time.uptime))
    assert (report.removed, report.failed, report.due_left) == (2, (), 0)
    assert {name.transfer_id for name in keys_held(resources)} == {later.id}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_keys_end_without_a_database_and_without_a_sweeper(resources, caller, time):
    """Lesson 1, G1: independent in code and data."""
    sent = send(resources, caller)
    vault_dir = resources.settings.vault_dir
    resources.close()
    shutil.rmtree(resources.database.file.parent)
    shutil.rmtree(resources.settings.blobs_dir)
    time.pass_until(sent.transfer.expires_at)
    assert expire_keys(VaultFolder(vault_dir), Clock(time, time.uptime)).removed == 2
    assert list(VaultFolder(vault_dir).names()) == []


def test_an_expiry_edited_in_the_database_does_not_bring_back_what_the_vault_has_ended(resources, caller, time):
    """G1: editing `expires_at` extends nothing, before the purge or after it."""
    sent = send(resources, caller)
    for table, row_id in ((transfers, sent.id), (shares, sent.share.id)):
        change(resources, table, row_id, expires_at=sent.transfer.expires_at + timedelta(days=365))
    time.pass_until(sent.transfer.expires_at)
    with pytest.raises(ShareExpired):
        run(claim(resources, sent.share))
    expire_keys(resources.vault, Clock(time, time.uptime))
    with pytest.raises(ShareExpired):
        run(claim(resources, sent.share))
    assert share_row(resources, sent.share.id).used_at is None


def test_the_sweeper_finishes_what_the_purge_began(resources, caller, time):
    sent = send(resources, caller)
    time.pass_until(sent.transfer.expires_at)
    expire_keys(resources.vault, Clock(time, time.uptime))
    assert sweep(resources).deleted == 1
    assert transfer_row(resources, sent.id).verified_at == time()


def test_keys_that_resist_are_loud_and_stop_no_other(resources, caller, time, monkeypatch):
    """Lesson 3."""
    said = []
    monkeypatch.setattr(module.log, "error", lambda event, **fields: said.append((event, fields)), raising=False)
    sent = [send(resources, caller, lifetime=timedelta(minutes=10)) for _ in range(3)]
    path = key_path(resources, EntryName(sent[1].id, sent[1].transfer.expires_at))
    path.unlink()
    path.mkdir()
    (path / "resists").touch()
    time.pass_until(sent[1].transfer.expires_at)
    report = expire_keys(resources.vault, Clock(time, time.uptime))
    assert (report.removed, len(report.failed), report.due_left) == (5, 1, 1)
    assert [(event, fields["alert"]) for event, fields in said] == [("keys_not_expired", True)]


def test_without_the_vault_it_raises(resources, time):
    with out_of_reach(resources.settings.vault_dir), pytest.raises(VaultUnavailable):
        expire_keys(resources.vault, Clock(time, time.uptime))
