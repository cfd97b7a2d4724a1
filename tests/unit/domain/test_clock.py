"""The rule of time: two counts of the boot clock, and the host's word only within bounds (lessons 12, 38 and 39)."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.clock import (
    ANCHORS_KEPT,
    BELIEVED,
    BELIEVED_AFTER_REBOOT,
    DATABASE_APART,
    PAUSES_AT_MOST,
    Anchor,
    BootTime,
    DatabaseTime,
    Doubt,
    Pause,
    RememberedTime,
    Uptime,
)
from app.runtime.clock import Clock

NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DAY, YEAR = timedelta(days=1), timedelta(days=365)


class Host:
    """A host's two clocks: one that anybody can set, one that only runs."""

    def __init__(self) -> None:
        self.moment, self.running, self.boot = NOW, 1000.0, "first"

    def wall(self) -> datetime:
        return self.moment

    def uptime(self) -> Uptime:
        return Uptime(self.boot, self.running)

    def run(self, duration: timedelta) -> None:
        self.moment += duration
        self.running += duration.total_seconds()

    def reboot(self, pause: timedelta) -> None:
        self.moment += pause
        self.boot, self.running = self.boot + "-next", 3.0

    def anchor(self) -> Anchor:
        return Anchor(self.moment, self.uptime())

    def clock(self, remembered: RememberedTime | None = None) -> Clock:
        """A process that starts now, and asks the vault."""
        clock = Clock(self.wall, self.uptime)
        clock.observe(remembered or RememberedTime())
        return clock


class Vault:
    """The vault's memory, kept as a scheduler does each second."""

    def __init__(self) -> None:
        self.remembered = RememberedTime()

    def attend(self, clock: Clock, database: DatabaseTime | None = None) -> str | None:
        clock.observe(self.remembered)
        _, boot, taking = clock.attend(database)
        clock.keep(boot)
        self.remembered = RememberedTime(clock.now(), boot)
        return taking


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def vault() -> Vault:
    return Vault()


# One process that runs


def test_it_runs_with_the_host(host):
    clock = host.clock()
    host.run(3 * DAY)
    assert (clock.judge().problem, clock.now()) == (None, NOW + 3 * DAY)


@pytest.mark.parametrize("leap", [-YEAR, -DAY, -HOUR, HOUR, YEAR])
def test_whatever_is_set_it_goes_on_by_the_boot_clock_and_the_host_is_not_believed(host, leap):
    """Lesson 12: clock set back an hour after expiry: still gone; a year ahead: nothing is destroyed early."""
    clock = host.clock()
    host.moment += leap
    host.run(MINUTE)
    judgement = clock.judge()
    assert (judgement.now, judgement.lead) == (NOW + MINUTE, leap)
    assert judgement.problem is not None


@pytest.mark.parametrize("leap", [-BELIEVED, -SECOND, BELIEVED])
def test_a_small_difference_is_no_problem_and_moves_nothing(host, leap):
    clock = host.clock()
    host.moment += leap
    assert (clock.judge().problem, clock.now()) == (None, NOW)


# Processes that start


def test_a_process_begins_at_the_host_s_time_within_five_minutes_of_the_vault_s_count(host, vault):
    vault.attend(host.clock())
    host.run(HOUR)
    for leap, begins in ((YEAR, BELIEVED), (4 * MINUTE, 4 * MINUTE), (-DAY, timedelta(0))):
        host.moment += leap
        assert host.clock(vault.remembered).now() == NOW + HOUR + begins
        host.moment -= leap


def test_restarts_under_a_clock_that_is_ahead_do_not_add_up(host, vault):
    vault.attend(host.clock())
    host.moment += YEAR
    for _ in range(100):
        vault.attend(host.clock(vault.remembered))
        host.run(SECOND)
    assert host.clock(vault.remembered).now() <= NOW + BELIEVED + 100 * SECOND


def test_time_is_the_later_of_the_two_counts(host, vault):
    """The vault's anchor of this boot, and the start of the process: an older copy of the vault holds nothing up."""
    clock = host.clock()
    old = RememberedTime(NOW - DAY, BootTime((Anchor(NOW - DAY, host.uptime()),)))
    clock.observe(old)
    assert clock.now() == NOW
    late = host.clock(old)
    assert late.now() == NOW - DAY + BELIEVED
    ahead = BootTime((Anchor(NOW + MINUTE, host.uptime()),))
    fresh = host.clock()
    fresh.observe(RememberedTime(NOW, ahead))
    assert fresh.now() == NOW + MINUTE


@pytest.mark.parametrize(
    ("pause", "begins"),
    [
        (timedelta(0), timedelta(0)),
        (3 * HOUR, 3 * HOUR),
        (BELIEVED_AFTER_REBOOT, BELIEVED_AFTER_REBOOT),
        (YEAR, BELIEVED_AFTER_REBOOT),
        (-DAY, timedelta(0)),
    ],
)
def test_after_a_reboot_it_is_believed_from_the_mark_to_a_day_past_it(host, vault, pause, begins):
    vault.attend(host.clock())
    host.reboot(pause)
    clock = host.clock(vault.remembered)
    assert clock.now() == NOW + begins
    assert (clock.judge().problem is None) == (begins == pause)


def test_another_boot_s_anchor_says_nothing(host, vault):
    vault.attend(host.clock())
    host.reboot(HOUR)
    assert host.clock(RememberedTime(vault.remembered.mark, None)).now() == NOW + HOUR


# What the database says


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (DatabaseTime(NOW, None), False),
        (DatabaseTime(NOW - 10 * YEAR, None), False),  # a stop, or a dead scheduler
        (DatabaseTime(NOW + BELIEVED, None), False),
        (DatabaseTime(NOW + BELIEVED + SECOND, None), True),
        (DatabaseTime(NOW + 10 * YEAR, None), True),
        (DatabaseTime(NOW, Anchor(NOW, Uptime("first", 1000.0))), False),
        (DatabaseTime(NOW, Anchor(NOW - 500 * SECOND, Uptime("first", 500.0))), False),
        (DatabaseTime(NOW, Anchor(NOW - 10 * YEAR, Uptime("first", 1000.0))), True),
        (DatabaseTime(NOW, Anchor(NOW + 10 * YEAR, Uptime("first", 1000.0))), True),
        (DatabaseTime(NOW, Anchor(NOW - 10 * YEAR, Uptime("another", 1000.0))), False),
        (DatabaseTime(NOW, None, NOW + DATABASE_APART), False),
        (DatabaseTime(NOW, None, NOW + DATABASE_APART + SECOND), True),
        (DatabaseTime(NOW, None, NOW - DATABASE_APART - SECOND), True),
    ],
)
def test_the_database_moves_nothing_and_is_not_believed_when_it_differs(host, said, problem):
    clock = host.clock()
    judgement = clock.judge(said)
    assert (judgement.now, judgement.problem is not None) == (NOW, problem)


def test_a_problem_of_the_database_alone_never_makes_it_take_the_host_s_clock(host, vault):
    clock, lie = host.clock(), DatabaseTime(NOW + 10 * YEAR, None)
    for _ in range(50):
        assert vault.attend(clock, lie) is None
        host.run(HOUR)
    assert clock.boot_time.anchors == (Anchor(NOW, Uptime("first", 1000.0)),)


def test_an_anchor_that_this_boot_had_before_is_no_lie(host, vault):
    """The host's clock was taken while no scheduler ran: the database knows the anchor before."""
    clock = host.clock()
    vault.attend(clock)
    before = clock.boot_time.anchor
    host.moment += 30 * MINUTE
    clock.keep(clock.accepted())
    assert clock.judge(DatabaseTime(NOW, before)).problem is None


# How the host's clock is taken


def test_a_machine_that_was_paused_is_recognised_after_two_minutes(host, vault):
    clock = host.clock()
    vault.attend(clock)
    host.moment += 30 * MINUTE
    taken = []
    for _ in range(13):
        taken.append(vault.attend(clock))
        host.run(10 * SECOND)
    assert taken == [None] * 12 + ["pause"]
    assert (clock.now(), clock.judge().problem) == (host.moment, None)


def test_a_clock_that_goes_on_leaping_is_no_pause(host, vault):
    clock = host.clock()
    vault.attend(clock)
    host.moment += 10 * MINUTE
    for _ in range(100):
        host.moment += 2 * SECOND
        host.run(10 * SECOND)
        assert vault.attend(clock) is None


def test_pauses_are_taken_up_to_an_hour_in_all_per_day_of_running(host, vault):
    clock = host.clock()
    vault.attend(clock)

    def pause(by: timedelta) -> bool:
        host.moment += by
        vault.attend(clock)
        host.run(2 * MINUTE)
        return bool(vault.attend(clock) == "pause")

    assert [pause(20 * MINUTE) for _ in range(4)] == [True, True, True, False]
    host.moment -= 20 * MINUTE
    host.run(DAY)
    vault.attend(clock)
    assert pause(PAUSES_AT_MOST)
    assert not pause(10 * MINUTE)


def test_what_is_further_ahead_waits_a_day_of_running(host, vault):
    """Destruction must not wait for ever."""
    clock = host.clock()
    vault.attend(clock)
    host.moment += 2 * HOUR
    for _ in range(24):
        assert vault.attend(clock) is None
        host.run(HOUR)
    assert vault.attend(clock) == "waited"
    assert clock.now() == host.moment


def test_waiting_is_kept_in_the_vault_and_begins_anew_with_each_problem(host, vault):
    vault.attend(host.clock())
    host.moment += YEAR
    for _ in range(12):
        vault.attend(host.clock(vault.remembered))  # a command of cron's, each time a new process
        host.run(HOUR)
    host.moment -= YEAR
    vault.attend(host.clock(vault.remembered))
    host.moment += YEAR
    for _ in range(24):
        assert vault.attend(host.clock(vault.remembered)) is None
        host.run(HOUR)
    assert vault.attend(host.clock(vault.remembered)) == "waited"


def test_a_clock_that_is_behind_is_never_taken_by_itself(host, vault):
    """It would let everything live longer by so much."""
    clock = host.clock()
    vault.attend(clock)
    host.moment -= 30 * MINUTE
    for _ in range(60):
        assert vault.attend(clock) is None
        host.run(HOUR)


@pytest.mark.parametrize("leap", [YEAR, -DAY])
def test_what_an_operator_accepts_all_processes_go_by_at_once_in_either_direction(host, vault, leap):
    one, other = host.clock(), host.clock()
    vault.attend(one)
    other.observe(vault.remembered)
    host.moment += leap
    boot = one.accepted()
    one.keep(boot)
    other.observe(RememberedTime(NOW, boot))
    assert one.now() == other.now() == NOW + leap
    assert (one.judge().problem, other.judge().problem) == (None, None)
    older = replace(boot, anchors=boot.anchors[:1], taken=0)
    other.observe(RememberedTime(NOW, older))
    assert other.now() == NOW + leap, "an older copy of the vault takes nothing back"


def test_clocks_that_are_accepted_without_end_do_not_fill_the_vault_s_mark(host, vault):
    clock = host.clock()
    vault.attend(clock)
    for _ in range(2_000):
        host.moment += MINUTE
        clock.keep(clock.accepted())
    vault.attend(clock)
    boot = clock.boot_time
    assert (boot.taken, len(boot.anchors)) == (2_000, ANCHORS_KEPT)
    assert len(boot.to_text()) < 64 * 1024
    assert host.clock(vault.remembered).now() == host.moment


# As text, and under all of it at once


def test_the_time_of_a_boot_comes_back_as_it_was(host):
    boot = BootTime((host.anchor(), host.anchor()), (Pause(1.5, 600.0),), Doubt(1.0, 2.5, -3.25), 7)
    assert BootTime.from_text(boot.to_text()) == boot
    plain = BootTime((host.anchor(),))
    assert BootTime.from_text(plain.to_text()) == plain


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"anchors": [], "pauses": [], "doubt": null, "taken": 0}', '{"anchors": [1]}']
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        BootTime.from_text(text)


moves = st.lists(
    st.tuples(
        st.sampled_from(["run", "set", "reboot", "restart"]), st.timedeltas(-timedelta(days=400), timedelta(days=400))
    ),
    max_size=15,
)


@given(moves)
def test_whatever_is_done_to_the_host_nothing_ends_earlier_than_the_bounds_allow_and_time_never_stands(history):
    """Property: at least what ran in this boot, at most the bounds more: 5 minutes, pauses, a day per reboot, and what
    a day of running accepted.
    """
    host, vault = Host(), Vault()
    clock = host.clock()
    vault.attend(clock)
    earliest, latest = NOW, NOW + BELIEVED
    for what, by in history:
        if what == "run":
            host.run(abs(by))
            earliest += abs(by)
            latest += abs(by)
        elif what == "set":
            host.moment += by
        elif what == "reboot":
            host.reboot(by)
            latest += BELIEVED_AFTER_REBOOT + BELIEVED  # the mark may be of a process that began ahead
            clock = host.clock(vault.remembered)
        else:
            clock = host.clock(vault.remembered)
        if vault.attend(clock) is not None:
            earliest, latest = max(earliest, host.moment), max(latest, host.moment + BELIEVED)
        assert earliest <= clock.now() + BELIEVED
        assert clock.now() <= latest + BELIEVED


def test_threads_never_see_an_earlier_time_than_another_saw_before(host):
    clock, problems = host.clock(), []

    def watch() -> None:
        last = clock.now()
        for _ in range(2000):
            moment = clock.now()
            if moment < last:
                problems.append((last, moment))
            last = moment

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(2000):
        host.moment = NOW + timedelta(seconds=step % 7)
        host.running += 0.001
    for thread in threads:
        thread.join()
    assert problems == []
