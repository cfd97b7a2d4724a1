"""What a reconciliation leaves in the vault, and how long it is good for."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.clock import Anchor, Uptime
from app.domain.high_water import HighWater
from app.domain.reconciled import GOOD_FOR, SHOWN, Contradiction, ReconciliationResult

AT = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
FOUND = ReconciliationResult(AT, 12, 0, 2, [Contradiction("expiry", "A" * 22), Contradiction("lockdown", None)])


def test_it_comes_back_as_it_was():
    assert ReconciliationResult.from_text(FOUND.to_text()) == FOUND


def test_the_longest_one_fits_into_a_mark():
    many = [Contradiction("entry_unproven", f"{number:022}") for number in range(SHOWN)]
    assert len(ReconciliationResult(AT, 10**6, 10**6, 10**6, many).to_text()) < 16_000


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": "soon"}', FOUND.to_text().replace('"word"', '"wort"')])
def test_what_is_no_result_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        ReconciliationResult.from_text(text)


@pytest.mark.parametrize(
    ("later", "good"),
    [(timedelta(0), True), (GOOD_FOR, True), (GOOD_FOR + timedelta(seconds=1), False), (-timedelta(seconds=1), False)],
)
def test_it_is_good_for_two_hours_and_never_from_the_future(later, good):
    assert FOUND.is_good(AT + later) is good


@pytest.mark.parametrize("origin", ["caducee.log/some", None])
def test_the_high_water_mark_remembers_the_origin_if_it_has_one(origin):
    mark = HighWater(AT, Anchor(AT, Uptime("boot", 1.0)), 3, bytes(32), origin)
    assert HighWater.from_text(mark.to_text()) == mark
    assert ("log_origin" in mark.to_text()) is (origin is not None)
