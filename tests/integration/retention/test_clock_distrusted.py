"""A clock that is not believed: nothing goes in, out or away on its word (docs/deletion.md; lesson 12)."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.actions.accept_clock import accept_clock
from app.actions.check_readiness import check_readiness
from app.actions.judge_clock import judge_clock
from app.actions.keep_time import keep_time
from app.actions.measure import measure
from app.db import service_rows
from app.db.tables import service_state
from app.domain.clock import BELIEVED, Uptime
from app.domain.errors import ClockNotTrusted, RetentionNotAssured
from app.domain.transfer import TransferState
from app.storage.vault_marks import read_boot_time, read_high_water
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    blobs_held,
    claim,
    deposit,
    events_of,
    fetch,
    issue,
    keys_held,
    log_of,
    run,
    send,
    sweep,
    transfer_row,
)
from tests.integration.retention.streams import stalled_download, stalled_upload

MINUTE, HOUR, DAY, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=365)
ALTERED = {
    "mark a day ahead": lambda now: {"time_mark": now + DAY},
    "mark 10 years ahead": lambda now: {"time_mark": now + 10 * YEAR},
    "anchor 10 years back": lambda now: {"anchor_at": now - 10 * YEAR},
    "anchor 10 years ahead": lambda now: {"anchor_at": now + 10 * YEAR},
    "anchor's boot clock": lambda _now: {"anchor_boot_seconds": 10_000_000.0},
}
REAL_WITH_CLOCK = dict(service_rows.WITH_CLOCK)


def state_of(resources):
    with resources.database.reading() as connection:
        return service_rows.get(connection)


def sweep_as_scheduled(resources):
    """What the timetable does each second."""
    judgement = keep_time(resources)
    sweep(resources)
    return judgement


@pytest.fixture
def another_boot(time, monkeypatch):
    """The host restarts: its boot clock begins anew, its wall clock stands wherever the test puts it."""
    return lambda: monkeypatch.setattr(time, "uptime", lambda: Uptime("the-next-boot", time.running))


# What is refused


def test_after_a_leap_nothing_goes_in_or_out(resources, caller, time):
    keep_time(resources)
    sent, receiving = send(resources, caller), a_transfer(resources, caller)
    claimed = run(claim(resources, sent.share))
    time.leap(YEAR)
    for step in (
        lambda: a_transfer(resources, caller),
        lambda: run(deposit(resources, caller, receiving)),
        lambda: run(issue(resources, caller, sent.transfer)),
        lambda: run(claim(resources, sent.share)),
        lambda: run(fetch(resources, claimed)),
        lambda: run(fetch(resources, claimed, decrypted=False)),
    ):
        with pytest.raises(ClockNotTrusted):
            step()
    assert check_readiness(resources) == ["clock_not_trusted"]


@pytest.mark.usefixtures("quick_watch")
def test_a_running_download_is_cut(resources, caller, time):
    keep_time(resources)
    claimed = run(claim(resources, send(resources, caller).share))
    with pytest.raises(ClockNotTrusted):
        run(stalled_download(resources, claimed, lambda: time.leap(YEAR)))
    time.leap(-YEAR)
    assert run(fetch(resources, claimed)) == CONTENT


@pytest.mark.usefixtures("quick_watch")
def test_a_running_upload_is_cut_and_leaves_nothing(resources, caller, time):
    keep_time(resources)
    receiving = a_transfer(resources, caller)
    with pytest.raises(ClockNotTrusted):
        run(stalled_upload(resources, caller, receiving, lambda: time.leap(YEAR)))
    assert blobs_held(resources) == set()


def test_small_differences_refuse_nothing(resources, caller, time):
    for leap in (4 * MINUTE, -4 * MINUTE, -4 * MINUTE):
        time.leap(leap)
        assert sweep_as_scheduled(resources).problem is None
        run(claim(resources, send(resources, caller).share))
    assert events_of(resources, event="clock.distrusted") == []


# What is destroyed


def test_nothing_is_destroyed_more_than_five_minutes_before_it_is_really_due(resources, caller, time, purge):
    """The purge is a process that starts after the leap each time."""
    sent = send(resources, caller, lifetime=HOUR)
    keep_time(resources)
    time.leap(YEAR)
    time.pass_by(HOUR - BELIEVED - MINUTE)
    sweep_as_scheduled(resources)
    purge()
    assert len(keys_held(resources)) == 2
    assert len(blobs_held(resources)) == 1
    assert transfer_row(resources, sent.id).state == TransferState.LIVE


def test_what_is_really_due_is_destroyed_though_the_clock_is_not_believed(resources, caller, time):
    sent = send(resources, caller, lifetime=HOUR)
    keep_time(resources)
    time.leap(YEAR)
    time.pass_until(sent.transfer.expires_at + YEAR)
    assert sweep_as_scheduled(resources).problem is not None
    assert keys_held(resources) == set()
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED


def test_many_small_leaps_do_not_add_up(resources, caller, time):
    """A clock that is moved on by four minutes each second would be a year ahead soon."""
    sent = send(resources, caller, lifetime=HOUR)
    keep_time(resources)
    for _ in range(30):
        time.leap(4 * MINUTE)
        time.pass_by(1)
        sweep_as_scheduled(resources)
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    assert state_of(resources).clock_problem is not None


# How it is believed again


def test_clock_accept_alone_restores_trust(resources, caller, time):
    sent = send(resources, caller, lifetime=HOUR)
    keep_time(resources)
    time.leap(2 * DAY)
    keep_time(resources)
    assert judge_clock(resources).problem is not None
    assert not measure(resources).clock_trusted
    assert accept_clock(resources).now == time.moment
    assert judge_clock(resources).problem is None
    with pytest.raises(RetentionNotAssured):  # two days without a sweep, as far as anybody knows
        a_transfer(resources, caller)
    sweep_as_scheduled(resources)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    run(claim(resources, send(resources, caller).share))


def test_correcting_the_clock_alone_restores_trust(resources, caller, time):
    keep_time(resources)
    time.leap(YEAR)
    assert sweep_as_scheduled(resources).problem is not None
    time.leap(-YEAR)
    assert sweep_as_scheduled(resources).problem is None
    run(claim(resources, send(resources, caller).share))


def test_accepting_may_set_the_time_back_everywhere_and_is_logged(resources, time, start_service, purge):
    """A clock that was wrong when it was first used is put right by the operator's word alone."""
    other = start_service()
    keep_time(resources)
    purge()
    time.leap(-HOUR)
    assert keep_time(resources).problem is not None
    assert accept_clock(resources).now == time.moment
    keep_time(resources)
    assert check_readiness(other) == ["retention_not_assured"]
    sweep(resources)
    assert check_readiness(other) == []
    remembered = read_high_water(resources.vault)
    assert remembered is not None
    assert state_of(resources).time_mark == remembered.at == other.clock.now() == time.moment
    assert [entry["actor"] for entry in log_of(resources, event="clock.accepted")] == ["operator"]


def test_a_paused_machine_is_recognised_and_logged(resources, caller, time):
    keep_time(resources)
    time.leap(30 * MINUTE)
    assert keep_time(resources).problem is not None
    with pytest.raises(ClockNotTrusted):
        a_transfer(resources, caller)
    time.pass_by(2 * MINUTE)
    assert sweep_as_scheduled(resources).problem is None
    assert resources.clock.now() == time.moment
    assert [entry["outcome"] for entry in log_of(resources, event="clock.accepted")] == ["pause"]
    a_transfer(resources, caller)


@pytest.mark.parametrize("sweeps_last", [timedelta(0), 20 * MINUTE], ids=["short sweeps", "long sweeps"])
def test_after_a_day_of_running_it_is_believed_by_itself(resources, caller, time, sweeps_last):
    """Destruction must not wait for ever for an operator who does not come."""
    sent = send(resources, caller, lifetime=7 * DAY)
    keep_time(resources)
    time.leap(YEAR)
    assert sweep_as_scheduled(resources).problem is not None
    for _ in range(23):
        time.pass_by(HOUR - sweeps_last)
        assert keep_time(resources).problem is not None
        time.pass_by(sweeps_last)
        sweep(resources)
    assert transfer_row(resources, sent.id).state == TransferState.LIVE
    time.pass_by(HOUR)
    assert sweep_as_scheduled(resources).problem is None
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert [entry["outcome"] for entry in log_of(resources, event="clock.accepted")] == ["waited"]


def test_each_leap_is_logged_once(resources, time):
    keep_time(resources)
    for _ in range(2):
        time.leap(YEAR)
        for _ in range(3):
            time.pass_by(1)
            keep_time(resources)
        accept_clock(resources)
    assert events_of(resources, event="clock.distrusted") == ["clock.distrusted"] * 2
    assert [entry["actor"] for entry in log_of(resources, event="clock.accepted")] == ["operator"] * 2


# Several processes, and restarts


def test_all_processes_follow_one_acceptance(resources, caller, time, start_service):
    other = start_service()
    sent = send(resources, caller)
    keep_time(resources)
    time.leap(YEAR)
    keep_time(resources)
    with pytest.raises(ClockNotTrusted):
        run(claim(other, sent.share))
    accept_clock(other)
    assert keep_time(resources).problem is None
    assert resources.clock.now() == other.clock.now() == time.moment


def test_a_process_started_after_the_leap_does_not_believe_it_either(resources, caller, time, start_service):
    sent = send(resources, caller)
    keep_time(resources)
    time.leap(20 * HOUR)  # less than a host may have been off: the boot clock says that it was not
    late = start_service()
    assert late.clock.now() == resources.clock.now() + BELIEVED
    with pytest.raises(ClockNotTrusted):
        run(claim(late, sent.share))


def test_a_host_that_was_off_for_less_than_a_day_goes_on(resources, caller, time, start_service, another_boot):
    sent = send(resources, caller, lifetime=HOUR)
    keep_time(resources)
    time.pass_by(23 * HOUR)
    another_boot()
    restarted = start_service()
    assert sweep_as_scheduled(restarted).problem is None
    assert transfer_row(restarted, sent.id).state == TransferState.VERIFIED


def test_a_host_that_was_off_for_longer_goes_on_a_day_after_it_stopped_and_waits_for_a_word(
    resources, caller, time, start_service, another_boot
):
    soon, later = send(resources, caller, lifetime=HOUR), send(resources, caller, lifetime=3 * DAY)
    keep_time(resources)
    time.pass_by(5 * DAY)
    another_boot()
    restarted = start_service()
    assert sweep_as_scheduled(restarted).problem is not None
    assert transfer_row(restarted, soon.id).state == TransferState.VERIFIED
    assert transfer_row(restarted, later.id).state == TransferState.LIVE
    with pytest.raises(ClockNotTrusted):
        run(claim(restarted, later.share))
    accept_clock(restarted)
    sweep_as_scheduled(restarted)
    assert transfer_row(restarted, later.id).state == TransferState.VERIFIED


def test_the_mark_is_kept_in_the_database_and_in_the_vault(resources, time):
    keep_time(resources)
    time.pass_by(HOUR)
    judgement = keep_time(resources)
    remembered = read_high_water(resources.vault)
    assert remembered is not None
    assert state_of(resources).time_mark == remembered.at == judgement.now == time.moment
    assert state_of(resources).anchor == remembered.anchor == resources.clock.boot_time.anchor
    assert read_boot_time(resources.vault, "this-boot") == resources.clock.boot_time


# The database's own word


@pytest.mark.parametrize("what", ALTERED)
def test_what_the_database_says_of_the_time_moves_nothing_and_is_red_while_it_stands(resources, caller, time, what):
    """One UPDATE made time stand still, all green: the clock believed the mark that it had written itself."""
    sent = send(resources, caller, lifetime=HOUR)
    keep_time(resources)
    with resources.database.writing() as transaction:
        transaction.connection.execute(update(service_state).values(ALTERED[what](resources.clock.now())))
    assert sweep_as_scheduled(resources).now == time.moment
    with pytest.raises(ClockNotTrusted):
        a_transfer(resources, caller)
    time.pass_by(HOUR)
    assert sweep_as_scheduled(resources).problem is not None
    assert check_readiness(resources) == ["clock_not_trusted"]
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    accept_clock(resources)
    sweep_as_scheduled(resources)
    assert check_readiness(resources) == []


def test_a_problem_that_is_wiped_out_of_the_database_is_seen_all_the_same(resources, caller, time):
    keep_time(resources)
    time.leap(YEAR)
    keep_time(resources)
    with resources.database.writing() as transaction:
        service_rows.forget_clock_problem(transaction.connection)
    with pytest.raises(ClockNotTrusted):
        a_transfer(resources, caller)
    assert not measure(resources).clock_trusted


@pytest.mark.parametrize("by", [2 * MINUTE, -2 * MINUTE])
def test_postgresql_s_own_clock_must_agree(database_kind, time, start_service, monkeypatch, by):
    """Two minutes are believed of a host alone, but not where PostgreSQL's clock says otherwise."""
    monkeypatch.setattr(service_rows, "WITH_CLOCK", REAL_WITH_CLOCK)
    time.moment = datetime.now(UTC)
    resources = start_service()
    assert sweep_as_scheduled(resources).problem is None
    time.running += by.total_seconds()
    apart = database_kind == "postgres"
    assert (sweep_as_scheduled(resources).problem is not None) == apart
    assert (check_readiness(resources) == ["clock_not_trusted"]) == apart


def test_a_sweep_in_the_future_counts_as_none(resources, caller, time):
    with resources.database.writing() as transaction:
        service_rows.record_sweep(transaction.connection, time.moment + YEAR)
    with pytest.raises(RetentionNotAssured):
        a_transfer(resources, caller)
