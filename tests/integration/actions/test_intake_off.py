"""Draining: no new transfer, and everything else goes on. Full volumes of database and vault refuse deposits too."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text

from app.actions.check_readiness import check_readiness
from app.actions.create_transfer import TransferOptions, create_sealed_transfer
from app.actions.delete_transfer import delete_transfer
from app.actions.examine import examine
from app.actions.measure import measure
from app.actions.stop_intake import look_at_drain, resume_intake, stop_intake
from app.db.errors import ChangeUndone
from app.db.reserve import Reserve
from app.domain.errors import DiskNearlyFull, IntakeOff
from app.domain.finding import Level
from app.storage import durable_files
from app.storage.errors import VaultUnavailable
from scheduler.metrics import ServiceCollector
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    blobs_held,
    claim,
    deposit,
    fetch,
    issue,
    keys_held,
    log_of,
    run,
    send,
    sweep,
)
from tests.integration.conftest import START

HOUR = timedelta(hours=1)


def off(resources):
    return stop_intake(resources.database, resources.clock)


def on(resources):
    resume_intake(resources.database, resources.clock)


def test_new_transfers_are_refused_and_everything_else_goes_on(resources, caller, time):
    open_, sent, ending = a_transfer(resources, caller), send(resources, caller), send(resources, caller)
    off(resources)
    for create in (a_transfer, lambda *_: create_sealed_transfer(resources, caller, TransferOptions())):
        with pytest.raises(IntakeOff):
            create(resources, caller)
    run(deposit(resources, caller, open_))
    run(issue(resources, caller, open_))
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT
    delete_transfer(resources, ending.transfer.id, caller=caller)
    sweep(resources)
    assert look_at_drain(resources.database).held == 2
    time.pass_until(max(open_.expires_at, sent.transfer.expires_at))
    sweep(resources)
    assert (blobs_held(resources), keys_held(resources)) == (set(), set())
    drain = look_at_drain(resources.database)
    assert (drain.since, drain.held, drain.last_expires_at) == (START, 0, None)
    on(resources)
    a_transfer(resources, caller)


def test_every_process_obeys(resources, caller, start_service):
    other = start_service()
    off(resources)
    with pytest.raises(IntakeOff):
        a_transfer(other, caller)


def test_it_is_logged_once_and_keeps_its_time(resources, time):
    off(resources)
    time.pass_by(HOUR)
    assert off(resources).since == START
    on(resources)
    on(resources)
    said = [(entry["event"], entry["actor"]) for entry in log_of(resources) if entry["event"].startswith("intake.")]
    assert said == [("intake.stopped", "operator"), ("intake.resumed", "operator")]


def test_it_shows_and_is_no_failure(resources):
    assert "intake" not in {finding.check for finding in examine(resources)}
    off(resources)
    assert check_readiness(resources) == ["intake_off"]
    assert [finding.level for finding in examine(resources) if finding.check == "intake"] == [Level.WEAK]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(lambda: measure(resources)))
    assert b"caducee_intake_off 1.0" in generate_latest(registry)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("act", [off, on])
def test_a_change_that_the_database_does_not_keep_is_reported(resources, act):
    """Read back in a transaction of its own."""
    (off if act is on else on)(resources)
    stays = "1" if act is on else "NULL"
    body = f"BEGIN UPDATE service_state SET intake_off_at = {stays}; END"
    with resources.database.writing() as transaction:
        transaction.connection.execute(
            text(f"CREATE TRIGGER again AFTER UPDATE OF intake_off_at ON service_state {body}")
        )
    with pytest.raises(ChangeUndone):
        act(resources)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_deposits_leave_the_space_for_deletion_alone(resources, caller, monkeypatch):
    open_, sent = a_transfer(resources, caller), send(resources, caller)
    monkeypatch.setattr(Reserve, "has_room", lambda _self: False)
    assert check_readiness(resources) == ["disk_nearly_full"]
    with pytest.raises(DiskNearlyFull):
        a_transfer(resources, caller)
    with pytest.raises(DiskNearlyFull):
        run(deposit(resources, caller, open_))
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT
    delete_transfer(resources, sent.transfer.id, caller=caller)
    assert sweep(resources).deleted == 1


@pytest.mark.parametrize("measure_", ["free_bytes", "free_files"])
def test_new_keys_leave_space_for_marks_and_claims(resources, caller, monkeypatch, measure_):
    sent, log = send(resources, caller), log_of(resources)
    monkeypatch.setattr(durable_files, measure_, lambda *, within: 100)
    assert "disk_nearly_full" in check_readiness(resources)
    with pytest.raises(DiskNearlyFull):
        a_transfer(resources, caller)
    assert log_of(resources) == log, "nothing was begun"
    with pytest.raises(VaultUnavailable):
        resources.vault.create(next(iter(resources.vault.names())), bytes(32))
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT
    resources.vault.write_mark("kept")
