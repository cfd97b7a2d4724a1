"""What the purge remembers of the time, as text and back."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.clock import Anchor, Judgement, Uptime
from app.domain.purge_time import KEPT_EACH, PurgeTime

START = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
ANCHOR = Anchor(START, Uptime("boot", 12.25))
KEPT = PurgeTime(START, ANCHOR, 12.5)
HOUR = timedelta(hours=1)


def test_it_comes_back_as_it_was():
    assert PurgeTime.from_text(KEPT.to_text()) == KEPT


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"at": 1}', "null", KEPT.to_text().replace("12.5", '"soon"')])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        PurgeTime.from_text(text)


def test_waiting_adds_up_and_ends_with_the_problem():
    distrusted = KEPT.after(Judgement(START + HOUR, ANCHOR, "a year ahead"))
    assert distrusted.waited_seconds == 12.5 + 3600
    assert KEPT.after(Judgement(START - HOUR, ANCHOR, "a year ahead")).waited_seconds == 12.5
    assert distrusted.after(Judgement(START + 2 * HOUR, ANCHOR)).waited_seconds is None


def test_waiting_begins_with_the_purge_that_first_sees_the_problem():
    """However long ago the one before was: the operator has a day to look."""
    begun = PurgeTime(START, ANCHOR).after(Judgement(START + 30 * HOUR, ANCHOR, "a year ahead"))
    assert begun.waited_seconds == 0.0


def test_it_is_written_when_something_changed_or_a_minute_has_passed():
    calm = PurgeTime(START, ANCHOR)
    assert not PurgeTime(START + KEPT_EACH / 2, ANCHOR).is_news(calm)
    assert PurgeTime(START + KEPT_EACH, ANCHOR).is_news(calm)
    assert PurgeTime(START, Anchor(START, Uptime("the next boot", 0.0))).is_news(calm)
    assert KEPT.is_news(calm)
    assert calm.is_news(KEPT)
