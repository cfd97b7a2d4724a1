"""When to look again, when to stop taking data in, and a clock that never goes back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.retention import deletion_is_assured, retry_at

NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
MINUTE, QUARTER = timedelta(minutes=1), timedelta(minutes=15)


@given(st.integers(0, 10**9))
def test_a_failing_step_is_tried_again_within_five_minutes_however_often_it_failed(failures):
    """Lesson 2: retried within minutes, for ever."""
    wait = retry_at(NOW, failures) - NOW
    assert timedelta(seconds=1) <= wait < 5 * MINUTE
    assert wait <= retry_at(NOW, failures + 1) - NOW


def test_waits_double_from_two_seconds_to_four_minutes():
    """As docs/deletion.md says, counted from the first failure."""
    waits = [(retry_at(NOW, failures) - NOW).total_seconds() for failures in range(1, 10)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 240, 240]


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
