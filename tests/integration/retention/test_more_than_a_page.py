"""What goes page by page does not stop after the first one: the same work with pages of two."""

from datetime import timedelta

import pytest

from app.actions.end_all_transfers import end_all_transfers
from app.actions.prune_log import prune_log
from app.domain.transfer import TransferState
from app.lifecycle.witnesses import compare_everything
from tests.integration.actions.stories import log_of, send, transfer_row


@pytest.fixture
def five(resources, caller):
    return [send(resources, caller) for _ in range(5)]


def test_every_transfer_ends_after_all_keys_were_destroyed(resources, five, monkeypatch):
    monkeypatch.setattr("app.actions.end_all_transfers.PAGE", 2)
    assert end_all_transfers(resources.database, resources.clock, destroyed=0) == 5
    assert {transfer_row(resources, each.id).state for each in five} == {TransferState.DENIED}


def test_every_transfer_and_every_name_in_the_vault_is_compared(resources, five, monkeypatch):
    monkeypatch.setattr("app.lifecycle.witnesses.PAGE", 2)
    compared = compare_everything(resources, verified_too=True)
    assert (compared.transfers, compared.names) == (5, 10)


def test_every_old_entry_is_pruned(resources, five, time, monkeypatch):
    monkeypatch.setattr("app.actions.prune_log.AT_ONCE", 2)
    before = len(log_of(resources))
    assert before > 5
    time.pass_by(resources.settings.audit_retention + timedelta(days=1))
    assert prune_log(resources, actor="operator") == before
    assert [entry["event"] for entry in log_of(resources) if "event" in entry] == ["log.started", "log.pruned"]
