"""Schedulers on several hosts: one database and one vault, but each with a clock and a signer's folder of its own."""

from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from app.actions.keep_time import keep_time, keep_time_or_alert
from app.actions.sign_checkpoint import sign_checkpoint
from app.db import service_rows
from app.db.tables import service_state
from app.domain.clock import Uptime
from app.domain.errors import ClockNotTrusted, VaultNotTrusted
from app.domain.high_water import HighWater
from app.lifecycle import gate, rollback, signer
from app.lifecycle.rollback import VaultRolledBack
from app.runtime import resources as resources_module
from app.runtime.clock import Clock
from app.storage.errors import SigningUnavailable
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water
from tests.integration.actions.stories import a_caller, claim, claim_row, events_of, log_of, run, send, sweep

MINUTE = timedelta(minutes=1)
ON_POSTGRES = pytest.mark.parametrize(
    "database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def first(resources):
    assert keep_time_or_alert(resources)
    return resources


@pytest.fixture
def start_host(start_service, time, tmp_path, monkeypatch):
    """Starts a process on another host, whose clock differs by `skew`; it has no signing key."""

    def start(name="other", skew=timedelta(0), **settings):
        clock = Clock(lambda: time.moment + skew, lambda: Uptime(f"boot-of-{name}", time.running))
        with monkeypatch.context() as patch:
            patch.setattr(resources_module, "Clock", lambda: clock)
            return start_service(keys_dir=tmp_path / f"keys-of-{name}", **({"sign_log": False} | settings))

    return start


def test_only_the_host_with_the_key_signs_and_the_others_alert_when_nobody_does(first, start_host, time):
    """Two signers would each take the other's checkpoint for a restored database."""
    sign_checkpoint(first, SigningFolder(first.settings.signing_dir))
    other = start_host()
    with pytest.raises(SigningUnavailable, match="this host does not sign the log"):
        sign_checkpoint(other, SigningFolder(other.settings.signing_dir))
    send(other, a_caller(other))
    sweep(other)
    with structlog.testing.capture_logs() as logged:
        signer.alert_if_unsigned(other)
        assert logged == []
        time.pass_by(signer.OVERDUE + MINUTE)
        signer.alert_if_unsigned(other)
    assert [(each["event"], each["alert"]) for each in logged] == [("log_not_signed", True)]


def mark_of(resources) -> HighWater:
    mark = read_high_water(resources.vault)
    assert mark is not None
    return mark


def test_an_older_mark_never_replaces_a_newer_one(first, start_host, monkeypatch, time):
    """A scheduler that was stopped between reading the log and writing the mark: the vault would look rolled back."""
    other, real = start_host(), rollback._mark

    def stopped_meanwhile(resources, at, *, origin=None):
        mark = real(resources, at, origin=origin)
        monkeypatch.setattr(rollback, "_mark", real)
        send(first, a_caller(first))
        assert keep_time_or_alert(first)
        return mark

    monkeypatch.setattr(rollback, "_mark", stopped_meanwhile)
    assert keep_time_or_alert(other)
    assert mark_of(first).log_size == len(events_of(first))
    time.pass_by(1)
    assert keep_time_or_alert(first)


def test_the_time_that_the_vault_remembers_does_not_fall_back_by_a_skew(first, start_host):
    """What is due by one trusted clock stays due after a restart on a host whose clock is behind."""
    other = start_host(skew=-timedelta(seconds=50))
    before = mark_of(first).at
    assert keep_time_or_alert(other)
    assert mark_of(first).at == before


@ON_POSTGRES
def test_a_host_with_a_wrong_clock_refuses_alone_and_logs_it_once(first, start_host, time):
    """The database's clock, here the first host's, is the one that all hosts share."""
    wrong = start_host(skew=timedelta(minutes=3))
    with pytest.MonkeyPatch.context() as patch:
        database_clock_is(patch, time)
        for _ in range(3):
            time.pass_by(1)
            assert keep_time(wrong).problem is not None
            assert keep_time(first).problem is None
        for resources, refusal in ((wrong, ClockNotTrusted), (first, None)):
            with resources.database.reading() as connection:
                if refusal is None:
                    gate.require_open_for_outflow(resources, connection)
                else:
                    with pytest.raises(refusal):
                        gate.require_open_for_outflow(resources, connection)
        assert len(log_of(first, event="clock.distrusted")) == 1
        assert state_of(first).clock_problem is not None, "whoever reads the row sees it"
        with first.database.writing() as transaction:  # that host is gone
            long_ago = time.moment - timedelta(days=365)
            transaction.connection.execute(service_state.update().values(clock_problem_at=long_ago))
        keep_time(first)
        assert state_of(first).clock_problem is None


@ON_POSTGRES
@pytest.mark.parametrize("skew", [timedelta(minutes=3), -timedelta(minutes=3)])
def test_a_scheduler_with_a_wrong_clock_neither_opens_the_dead_mans_switch_nor_extends_a_window(
    first, start_host, time, skew
):
    """It takes the service for refused, and adds the time since another scheduler saw otherwise, by its own clock."""
    sent = send(first, a_caller(first))
    run(claim(first, sent.share))
    window = claim_row(first, sent.share.id).window_until
    wrong = start_host(skew=skew)
    with pytest.MonkeyPatch.context() as patch:
        database_clock_is(patch, time)
        for _ in range(3):
            time.pass_by(1)
            for resources in (first, wrong):
                keep_time(resources)
                sweep(resources)
        assert claim_row(first, sent.share.id).window_until == window
        assert state_of(first).last_sweep_at == time.moment
        assert state_of(first).outflow_refused_at is None


@ON_POSTGRES
def test_a_scheduler_that_remembers_nothing_does_not_overrule_one_that_found_the_vault_rolled_back(
    first, start_host, time
):
    """A new host would write the next mark, and the first would take the old vault for the right one."""
    with pytest.MonkeyPatch.context() as patch:
        database_clock_is(patch, time)
        old = first.vault.read_mark()
        send(first, a_caller(first))
        assert keep_time_or_alert(first)
        first.vault.write_mark(old)
        assert not keep_time_or_alert(first)
        new = start_host()
        with pytest.raises(VaultRolledBack):
            keep_time(new)
        assert first.vault.read_mark() == old
        assert not keep_time_or_alert(first)
        for resources in (first, new):
            with resources.database.reading() as connection, pytest.raises(VaultNotTrusted):
                gate.require_open_for_outflow(resources, connection)


def database_clock_is(patch, time) -> None:
    """Give the database the time of the test, where it has a clock of its own."""
    real = service_rows.get
    patch.setattr(service_rows, "WITH_CLOCK", {"postgresql": service_rows._SELECT})
    patch.setattr(service_rows, "get", lambda connection: replace(real(connection), database_clock=time.moment))


def state_of(resources) -> service_rows.ServiceState:
    with resources.database.reading() as connection:
        return service_rows.get(connection)
