"""Durations as people write them: a whole number and a unit, and nothing else."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.duration import format_duration, parse_duration
from app.domain.errors import InvalidDuration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1, 1),
        (90, 90),
        ("1", 1),
        ("90", 90),
        ("45s", 45),
        ("30m", 1800),
        ("12h", 43_200),
        ("7d", 604_800),
        ("007d", 604_800),
        ("999999999d", 999_999_999 * 86_400),
    ],
)
def test_a_duration_is_a_whole_number_with_a_unit(written, seconds):
    assert parse_duration(written) == timedelta(seconds=seconds)


WRONG: list[object] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    10**9,
    10**400,
    timedelta(hours=1),
    [],
    {},
    b"7d",
    "",
    " ",
    "0",
    "0d",
    "000",
    "-1",
    "-7d",
    "+7d",
    "1.5d",
    "1e3",
    "0x10",
    "1_000",
    "NaN",
    "inf",
    "never",
    "none",
    "null",
    "7 d",
    " 7d",
    "7d ",
    "7d\n",
    "7D",
    "7w",
    "7y",
    "d",
    "7dd",
    "7d7d",
    "1d12h",
    "P7D",
    "PT1H",
    "00:05:00",
    "1000000000",
    "1000000000d",
    "9" * 400,
    "\uff17d",
    "\u0667d",
    "7\u1d48",
]


@pytest.mark.parametrize("written", WRONG, ids=lambda written: repr(written)[:20])
def test_anything_else_is_refused(written):
    """Lesson 7: absent, 0, negative, "never", huge, NaN, overflowing; onetimesecret forgot one of its versions."""
    with pytest.raises(InvalidDuration):
        parse_duration(written)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.binary(), st.none()))
def test_whatever_is_read_is_positive_and_finite(written):
    """Lesson 7."""
    try:
        duration = parse_duration(written)
    except InvalidDuration:
        return
    assert timedelta(0) < duration <= timedelta(days=999_999_999)


@given(st.integers(1, 999_999_999))
def test_what_is_written_is_read_back(seconds):
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "written"), [(45, "45s"), (90, "90s"), (5400, "90m"), (7200, "2h"), (172_800, "2d")]
)
def test_a_duration_is_written_in_its_largest_whole_unit(seconds, written):
    assert format_duration(timedelta(seconds=seconds)) == written
