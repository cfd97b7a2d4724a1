"""Lesson 43: downloads in the log: the first at once, a thousand ranges in a few entries, and no byte uncounted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.runtime.fetch_log import ADDRESSES_AT_ONCE, Fetched, FetchLog

NOW = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE = Fetched(transfer="t", share="s", claim="c", file=0, files=1, address="192.0.2.1", size=10, acknowledged=7, cut=0)


def add(log: FetchLog, fetched: Fetched, now: datetime):
    """A copy: the log keeps what it is given."""
    return log.add(replace(fetched), now)


def test_a_hundred_thousand_ranges_are_a_few_entries_that_count_them_all():
    log, entries = FetchLog(), []
    for number in range(100_000):
        entries += add(log, ONE, NOW + number * SECOND / 100)  # 1,000 seconds
    entries += log.take(NOW + 1001 * SECOND, all_of_them=True)
    assert len(entries) < 20
    assert sum(entry.count or 1 for entry in entries) == 100_000
    assert sum(entry.size or 0 for entry in entries) == 1_000_000
    assert sum(entry.acknowledged or 0 for entry in entries) == 700_000


def test_the_first_is_logged_at_once_and_the_others_after_a_minute():
    log = FetchLog()
    (first,) = add(log, ONE, NOW)
    assert (first.size, first.acknowledged, first.outcome, first.count, first.cut) == (10, 7, "sent", None, None)
    assert add(log, replace(ONE, cut=1), NOW + SECOND) == []
    assert add(log, ONE, NOW + 2 * SECOND) == []
    assert log.take(NOW + 59 * SECOND) == []
    (others,) = log.take(NOW + 60 * SECOND)
    assert (others.count, others.cut, others.size, others.outcome) == (2, 1, 20, "sent")
    assert log.take(NOW + 61 * SECOND, all_of_them=True) == []


def test_only_cut_downloads_read_cut():
    log = FetchLog()
    add(log, ONE, NOW)
    for _ in range(2):
        add(log, replace(ONE, cut=1), NOW + SECOND)
    (entry,) = log.take(NOW + SECOND, all_of_them=True)
    assert (entry.outcome, entry.count, entry.cut) == ("cut", 2, 2)


def test_files_and_claims_are_logged_apart():
    log = FetchLog()
    for other in (ONE, replace(ONE, file=1), replace(ONE, claim="d"), replace(ONE, file=None, files=2)):
        assert len(add(log, other, NOW)) == 1


def test_another_address_is_logged_at_once_but_not_for_ever():
    """Who holds a claim's token and changes address is seen at once, and cannot fill the log by it."""
    log, entries = FetchLog(), []
    add(log, ONE, NOW)
    add(log, ONE, NOW)
    waiting, other = add(log, replace(ONE, address="198.51.100.1"), NOW + SECOND)
    assert (waiting.address, other.address) == ("192.0.2.1", "198.51.100.1")
    for number in range(1000):
        entries += add(log, replace(ONE, address=f"2001:db8::{number:x}"), NOW + SECOND)
    assert len(entries) < 2 * ADDRESSES_AT_ONCE
    entries += log.take(NOW + 61 * SECOND)
    assert sum(entry.count or 1 for entry in entries) == 1000


def test_what_is_idle_is_forgotten():
    log = FetchLog()
    add(log, ONE, NOW)
    log.take(NOW + 61 * SECOND)
    assert log.groups == 0
