"""When to look again, when to stop taking data in, and a clock that never goes back."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.access_token import Caller, Role, require_role, require_valid
from app.domain.clock import Clock, system_time
from app.domain.errors import NotAllowed, NotAuthenticated
from app.domain.retention import deletion_is_assured, retry_at

NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
MINUTE, QUARTER = timedelta(minutes=1), timedelta(minutes=15)


@given(st.integers(0, 10**9))
def test_a_failing_step_is_tried_again_within_five_minutes_however_often_it_failed(failures):
    """Lesson 2: retried within minutes, for ever."""
    wait = retry_at(NOW, failures) - NOW
    assert timedelta(seconds=1) <= wait < 5 * MINUTE
    assert wait <= retry_at(NOW, failures + 1) - NOW


@pytest.mark.parametrize(
    ("last_sweep_at", "assured"),
    [
        (None, False),
        (NOW, True),
        (NOW - QUARTER, True),
        (NOW - QUARTER - timedelta.resolution, False),
        (NOW - timedelta(days=365), False),
        (NOW + MINUTE, True),
    ],
)
def test_data_is_taken_in_only_while_sweeps_succeed(last_sweep_at, assured):
    """Lesson 1: the dead-man's switch; Dispose's deletion was a job that nobody watched."""
    assert deletion_is_assured(last_sweep_at, NOW, QUARTER) is assured


class Source:
    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        return self.moment


@given(st.lists(st.timedeltas(-timedelta(days=400), timedelta(days=400)), max_size=20))
def test_the_clock_never_goes_back_whatever_the_host_says(steps):
    """Lesson 12: clock set back an hour after expiry, still gone."""
    source = Source()
    clock = Clock(source)
    seen = [clock.now()]
    for step in steps:
        source.moment = NOW + step
        seen.append(clock.now())
    assert seen == sorted(seen)
    assert seen[-1] == max([NOW, *(NOW + step for step in steps)])


def test_a_time_accepted_elsewhere_counts_here():
    """Lesson 12: also across a restart, and for a process that started with its clock set back."""
    source = Source()
    clock = Clock(source)
    clock.observe(NOW + MINUTE)
    assert clock.now() == NOW + MINUTE
    clock.observe(None)
    clock.observe(NOW - MINUTE)
    assert clock.now() == NOW + MINUTE
    source.moment = NOW + 2 * MINUTE
    assert clock.now() == NOW + 2 * MINUTE


def test_threads_never_see_an_earlier_time_than_another_saw_before():
    source, clock, problems = Source(), None, []
    clock = Clock(source)

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
        source.moment = NOW + timedelta(seconds=step % 7)
    for thread in threads:
        thread.join()
    assert problems == []


def test_the_hosts_time_is_aware_and_utc():
    assert system_time().utcoffset() == timedelta(0)


# Access tokens


def test_a_token_is_valid_until_the_first_instant_of_its_expiry_and_until_it_is_revoked():
    """Lesson 30."""
    require_valid(revoked_at=None, expires_at=None, now=NOW)
    require_valid(revoked_at=None, expires_at=NOW + timedelta.resolution, now=NOW)
    for revoked_at, expires_at in ((None, NOW), (NOW, None), (NOW + MINUTE, None), (NOW, NOW + MINUTE)):
        with pytest.raises(NotAuthenticated):
            require_valid(revoked_at=revoked_at, expires_at=expires_at, now=NOW)


@pytest.mark.parametrize("role", Role)
def test_a_role_that_is_not_named_may_not(role):
    """Lesson 24: an allow-list."""
    caller = Caller("A" * 22, "lab", role, None)
    require_role(caller, Role.AUDITOR, role)
    with pytest.raises(NotAllowed):
        require_role(caller, *(other for other in Role if other != role))
    with pytest.raises(NotAllowed):
        require_role(caller)


def test_the_log_names_a_caller_by_the_tokens_id_and_by_nothing_of_the_person():
    assert Caller("A" * 22, "Dr Martin", Role.STAFF, None).actor == f"token:{'A' * 22}"
