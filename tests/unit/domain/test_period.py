"""Times as people write them: what is understood, and what is refused rather than guessed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.domain.errors import InvalidTime
from app.domain.period import Period, form_time, is_pruned, parse_moment, parse_period, with_zone

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-02T12:00:00Z", NOON),
        ("2026-03-02t12:00z", NOON),
        ("2026-03-02 12:00:00Z", NOON),
        ("2026-03-02T14:00:00+02:00", NOON),
        ("2026-03-02T12:00:00.000001Z", NOON + timedelta(microseconds=1)),
    ],
)
def test_dates_and_times_with_a_zone_are_understood(text, moment):
    assert parse_moment(text) == moment
    assert parse_moment(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "yesterday",
        "2026-3-2",
        "2026-02-30",
        "0000-01-01",
        "2026-03-02T12:00:00",
        "2026-03-02T25:00:00Z",
        "2026-03-02T12:00:00 02:00",
        "2026-03-02T12:00:00+99:00",
        "0001-01-01T00:00:00+02:00",
        "20260302",
        "1772452800",
        "\u0662026-03-02",
        "2026-03-02\n",
        "2026-03-02T12:00:00Z; DROP TABLE x",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidTime):
        parse_moment(text)


def test_a_date_at_the_end_means_that_whole_day():
    period = parse_period("2026-03-01", "2026-03-01", NOON)
    assert period == Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    with pytest.raises(InvalidTime):
        parse_period("2026-03-01", "9999-12-31", NOON)


def test_without_an_end_it_is_up_to_now():
    assert parse_period("2026-03-01", None, NOON).until == NOON


@pytest.mark.parametrize("until", ["2026-02-28", "2026-03-01T00:00:00Z"])
def test_a_period_that_ends_before_it_begins_or_at_once_is_refused(until):
    with pytest.raises(InvalidTime, match="ends before"):
        parse_period("2026-03-01", until, NOON)


def test_a_period_holds_its_first_instant_and_not_its_last():
    period = Period(NOON, NOON + timedelta(hours=1))
    assert period.since in period
    assert period.until not in period


@pytest.mark.parametrize(
    ("text", "ends", "moment"),
    [
        ("2026-07-01T14:30", False, datetime(2026, 7, 1, 12, 30, tzinfo=UTC)),
        ("2026-01-01T14:30:05", False, datetime(2026, 1, 1, 13, 30, 5, tzinfo=UTC)),
        ("2026-10-25T02:30", False, datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-10-25T02:30", True, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ("2026-03-02", False, datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-02T12:00:00Z", False, NOON),
    ],
)
def test_a_form_s_local_time_is_the_house_s(text, ends, moment):
    """Of an hour that occurs twice, a period includes both."""
    assert parse_moment(with_zone(text, ZoneInfo("Europe/Paris"), ends=ends)) == moment


def test_a_local_time_that_does_not_exist_is_refused():
    for text in ("2026-02-30T10:00", "2026-01-01T25:00"):
        with pytest.raises(InvalidTime):
            parse_moment(with_zone(text, ZoneInfo("Europe/Paris")))


@pytest.mark.parametrize(
    ("text", "ends", "shown"),
    [
        ("2026-03-02T12:00:00Z", False, "2026-03-02T13:00"),
        ("2026-03-02T12:00:30+01:00", True, "2026-03-02T12:00:30"),
        ("2026-03-02T12:00", True, "2026-03-02T12:00"),
        ("2026-03-02", False, "2026-03-02T01:00"),
        ("2026-03-02", True, "2026-03-03T01:00"),
        ("0001-01-01T00:00", False, "0001-01-01T00:00"),
        ("yesterday", False, "yesterday"),
        ("", True, ""),
    ],
)
def test_a_form_shows_any_time_as_the_house_s(text, ends, shown):
    assert form_time(text, ZoneInfo("Europe/Paris"), ends=ends) == shown
    if shown not in {text, ""}:
        again = parse_moment(with_zone(shown, ZoneInfo("Europe/Paris"), ends=ends))
        assert again == parse_moment(with_zone(text, ZoneInfo("Europe/Paris")), whole_day=ends)


def test_a_period_is_pruned_if_it_begins_before_what_is_kept():
    second = timedelta(seconds=1)
    assert is_pruned(NOON, since=NOON - second)
    assert not is_pruned(NOON, since=NOON)
    assert not is_pruned(None, since=NOON)
