"""Rules of a share and of its one claim."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.claim import ALLOWANCE_FACTOR, allowance_bytes, end_at_window, window_end, window_with_refused
from app.domain.errors import ShareExpired, ShareLocked, ShareUsed, ShareWithdrawn
from app.domain.share import OPEN_STATES, ShareState, ends_transfer_early, refusal, state_shown

NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize("state", ShareState)
def test_an_open_share_past_its_expiry_is_expired_whether_or_not_a_sweep_has_passed(state):
    """Lesson 1: the refusal does not wait for the sweeper."""
    assert state_shown(state, LATER, LATER - timedelta.resolution) == state
    assert state_shown(state, LATER, LATER) == (ShareState.EXPIRED if state in OPEN_STATES else state)


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (ShareState.ISSUED, None),
        (ShareState.CLAIMED, ShareUsed),
        (ShareState.COMPLETED, ShareUsed),
        (ShareState.LAPSED, ShareUsed),
        (ShareState.WITHDRAWN, ShareWithdrawn),
        (ShareState.LOCKED, ShareLocked),
        (ShareState.EXPIRED, ShareExpired),
    ],
)
def test_every_state_but_issued_is_refused_with_its_reason(state, refused):
    given_reason = refusal(state)
    assert (type(given_reason) if given_reason else None) is refused


def test_the_table_of_refusals_has_every_state():
    assert [state for state in ShareState if refusal(state) is None] == [ShareState.ISSUED]


DONE = {ShareState.COMPLETED, ShareState.WITHDRAWN}


@pytest.mark.parametrize("states", [(), *product(ShareState, repeat=1), *product(ShareState, repeat=2)])
def test_a_transfer_goes_early_once_somebody_has_it_and_nobody_waits(states):
    """docs/http-api.md: one completed, the others completed or withdrawn; a lapsed or locked recipient still waits."""
    early = ShareState.COMPLETED in states and set(states) <= DONE
    assert ends_transfer_early(states, keep_until_expiry=False) is early
    assert ends_transfer_early(iter(states), keep_until_expiry=False) is early
    assert ends_transfer_early(states, keep_until_expiry=True) is False


def test_a_window_slides_but_never_past_the_expiry():
    hour = timedelta(minutes=60)
    assert window_end(NOW, hour, NOW + timedelta(days=1)) == NOW + hour
    assert window_end(NOW, hour, NOW + timedelta(minutes=10)) == NOW + timedelta(minutes=10)


def test_a_window_that_closes_after_everything_was_sent_in_one_go_is_a_completion():
    assert end_at_window(NOW) is ShareState.COMPLETED
    assert end_at_window(None) is ShareState.LAPSED


@given(st.lists(st.integers(72, 2**40), min_size=1, max_size=20))
def test_an_allowance_lets_everything_be_fetched_three_times_and_not_four(sizes):
    """Lesson 16: a client that never completes is capped (Lufi re-reads for ever)."""
    allowance = allowance_bytes(sizes)
    assert ALLOWANCE_FACTOR == 3
    assert allowance >= 3 * sum(sizes)
    assert allowance <= 3 * (sum(sizes) + 2048 * len(sizes))


@given(minutes=st.integers(0, 200), refused=st.integers(-200, 200))
def test_refused_time_lengthens_a_window_and_never_past_the_expiry(minutes, refused):
    window_until = NOW + timedelta(minutes=min(minutes, 60))
    longer = window_with_refused(window_until, timedelta(minutes=refused), LATER)
    assert window_until <= longer <= LATER
    assert longer in {window_until + timedelta(minutes=max(0, refused)), LATER}
