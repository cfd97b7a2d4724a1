"""What the purge remembers of the time, as text and back."""

from datetime import UTC, datetime

import pytest

from app.domain.clock import Anchor, Uptime
from app.domain.purge_time import KEPT_EACH, PurgeTime

START = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
KEPT = PurgeTime(START, Anchor(START, Uptime("boot", 12.25)))


def test_it_comes_back_as_it_was():
    assert PurgeTime.from_text(KEPT.to_text()) == KEPT


def test_one_of_version_0_1_is_read():
    text = KEPT.to_text().replace("}", ', "waited_seconds": 12.5}')
    assert PurgeTime.from_text(text) == KEPT


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"at": 1}', "null", KEPT.to_text().replace("12.25", '"soon"')])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        PurgeTime.from_text(text)


def test_it_is_written_when_a_minute_has_passed_since_the_latest_time_that_is_remembered():
    assert KEPT.is_news(None)
    assert KEPT.is_news(START - KEPT_EACH)
    assert not KEPT.is_news(START - KEPT_EACH / 2)
    assert not KEPT.is_news(START + KEPT_EACH)
