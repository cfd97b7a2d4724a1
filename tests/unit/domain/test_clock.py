"""The clock's rules: never backwards, never ahead on the host's word alone (lesson 12; design, section 5)."""

import threading
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.clock import GAP_AT_START, LEAP_AHEAD, Anchor, Clock, Uptime, judge

NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
MINUTE, HOUR, DAY, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=365)


class Host:
    """A host's two clocks: one that anybody can set, one that only runs."""

    def __init__(self) -> None:
        self.moment, self.running, self.boot = NOW, 1000.0, "first boot"

    def wall(self) -> datetime:
        return self.moment

    def uptime(self) -> Uptime:
        return Uptime(self.boot, self.running)

    def run(self, duration: timedelta) -> None:
        self.moment += duration
        self.running += duration.total_seconds()

    def reboot(self, pause: timedelta) -> None:
        self.moment += pause
        self.boot, self.running = self.boot + "'", 3.0


def a_clock(host: Host) -> Clock:
    return Clock(host.wall, host.uptime)


def test_it_runs_with_the_host():
    host = Host()
    clock = a_clock(host)
    host.run(3 * DAY)
    assert clock.judge().problem is None
    assert clock.now() == NOW + 3 * DAY


def test_set_back_it_goes_on_by_the_boot_clock():
    """Lesson 12: clock set back an hour after expiry: still gone; and what expires meanwhile expires in time."""
    host = Host()
    clock = a_clock(host)
    host.moment -= HOUR
    assert clock.now() == NOW
    host.run(10 * MINUTE)
    assert clock.now() == NOW + 10 * MINUTE
    assert clock.judge().problem is None


def test_set_a_year_ahead_it_is_not_believed_and_goes_on_by_the_boot_clock():
    host = Host()
    clock = a_clock(host)
    host.moment += YEAR
    assert clock.judge().problem is not None
    host.run(MINUTE)
    assert clock.now() == NOW + MINUTE


def test_a_small_correction_ahead_is_believed_but_many_small_ones_are_not():
    """The mark never rises faster than the boot clock plus five minutes, in how many steps ever."""
    host = Host()
    clock = a_clock(host)
    host.moment += LEAP_AHEAD
    assert clock.judge().problem is None
    assert clock.now() == NOW + LEAP_AHEAD
    for _ in range(20):
        host.moment += 4 * MINUTE
        host.run(timedelta(seconds=1))
        judgement = clock.judge()
    assert judgement.problem is not None
    assert judgement.now <= NOW + LEAP_AHEAD + timedelta(seconds=20)


def test_after_a_reboot_it_goes_on_from_the_mark():
    host = Host()
    mark = NOW + HOUR
    host.reboot(pause=3 * HOUR)
    clock = a_clock(host)
    clock.observe(mark=mark, anchor=Anchor(NOW, Uptime("first boot", 1000.0)))
    assert clock.judge().problem is None
    assert clock.now() == NOW + 3 * HOUR


def test_after_a_reboot_with_the_clock_behind_it_stands_no_earlier_than_the_mark():
    host = Host()
    host.reboot(pause=-DAY)
    clock = a_clock(host)
    clock.observe(mark=NOW, anchor=Anchor(NOW, Uptime("first boot", 1000.0)))
    host.run(MINUTE)
    assert clock.now() == NOW + MINUTE


def test_more_than_a_day_after_the_mark_a_start_is_not_believed_until_somebody_accepts():
    host = Host()
    host.reboot(pause=GAP_AT_START + MINUTE)
    clock = a_clock(host)
    clock.observe(mark=NOW, anchor=Anchor(NOW, Uptime("first boot", 1000.0)))
    assert clock.judge().problem is not None
    host.run(MINUTE)
    assert clock.judge().problem is not None
    assert clock.now() == NOW + MINUTE
    assert clock.accept().now == host.moment
    assert clock.judge().problem is None


def test_a_process_that_starts_after_the_leap_learns_the_anchor_and_does_not_believe_it():
    """A restart of the service is no way to have a leap accepted."""
    host = Host()
    host.run(HOUR)
    host.moment += 2 * HOUR
    clock = a_clock(host)
    clock.observe(mark=NOW + HOUR, anchor=Anchor(NOW, Uptime("first boot", 1000.0)))
    assert clock.judge().problem is not None
    assert clock.now() == NOW + HOUR


def test_what_one_process_accepts_the_others_believe():
    host = Host()
    one, other = a_clock(host), a_clock(host)
    for clock in (one, other):
        clock.observe(mark=NOW, anchor=Anchor(NOW, host.uptime()))
    host.moment += YEAR
    accepted = one.accept()
    other.observe(mark=accepted.now, anchor=accepted.anchor)
    assert other.judge().problem is None
    assert other.now() == NOW + YEAR


def test_the_database_s_clock_is_a_ceiling():
    host = Host()
    clock = a_clock(host)
    host.moment += 2 * MINUTE
    judgement = clock.judge(NOW + MINUTE)
    assert judgement.problem is not None
    assert judgement.now == NOW


moves = st.lists(
    st.tuples(st.sampled_from(["run", "set", "reboot"]), st.timedeltas(-timedelta(days=400), timedelta(days=400))),
    max_size=15,
)


@given(moves)
def test_whatever_is_done_to_the_host_it_never_goes_back_and_never_outruns_what_ran(history):
    """Property: monotone; and ahead of the time that really ran by no more than one leap and the gaps at starts."""
    host = Host()
    anchor, mark, seen, allowed = None, None, [], NOW
    for what, by in history:
        if what == "run":
            host.run(abs(by))
            allowed += abs(by)
        elif what == "set":
            host.moment += by
        else:
            host.reboot(by)
            allowed += GAP_AT_START + LEAP_AHEAD
        judgement = judge(wall=host.moment, uptime=host.uptime(), anchor=anchor, mark=mark)
        if mark is None:
            allowed = max(allowed, judgement.now)
        anchor, mark = judgement.anchor, judgement.now
        seen.append(judgement.now)
        assert judgement.now <= allowed + LEAP_AHEAD
    assert seen == sorted(seen)


def test_threads_never_see_an_earlier_time_than_another_saw_before():
    host = Host()
    clock, problems = a_clock(host), []

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
    for thread in threads:
        thread.join()
    assert problems == []
