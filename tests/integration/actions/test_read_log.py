"""The log read by whom, what and when; followed; and in pages that look at a bounded part of it."""

from datetime import timedelta
from itertools import islice

import pytest

from app.actions.read_log import entry_filter, follow_log, page_of_log, page_of_log_backwards, read_log
from app.db.audit_queries import EntryFilter
from app.domain.audit_events import Entry, Event
from app.domain.errors import InvalidRequest, InvalidTime
from tests.integration.actions.stories import a_transfer, claim, run, send, sweep


@pytest.fixture
def story(resources, caller, time):
    """Two transfers, an hour apart; the first one's share is claimed."""
    first = send(resources, caller)
    run(claim(resources, first.share))
    time.pass_by(3600)
    sweep(resources)
    return first, send(resources, caller)


def events(entries):
    return [entry.fields()["event"] for entry in entries]


def test_filters_by_each_field_and_by_several(resources, caller, story):
    first, second = story
    assert events(read_log(resources, entry_filter(transfer=first.id))) == [
        "transfer.created",
        "file.deposited",
        "share.issued",
        "share.claimed",
        "share.lapsed",
        "share.keys_destroyed",
    ]
    assert events(read_log(resources, entry_filter(share=second.share.id))) == ["share.issued"]
    assert events(read_log(resources, entry_filter(actor="recipient"))) == ["share.claimed"]
    assert len(events(read_log(resources, entry_filter(event="transfer.created", actor=caller.actor)))) == 2
    assert events(read_log(resources, entry_filter(event="share.claimed", transfer=second.id))) == []


def test_an_id_is_compared_with_its_case(resources, story):
    """SQLite's LIKE does not know case; ids do."""
    first, _ = story
    assert events(read_log(resources, EntryFilter(share=first.share.id.swapcase()))) == []


def test_filters_by_time_with_the_first_instant_and_without_the_last(resources, story, time):
    hour_ago, now = time.moment - timedelta(hours=1), time.moment
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    before = list(read_log(resources, entry_filter(until=f"{now:{stamp}}")))
    after = list(read_log(resources, entry_filter(since=f"{now:{stamp}}")))
    assert {entry.at for entry in before} == {hour_ago}
    assert {entry.at for entry in after} == {now}
    assert [*before, *after] == list(read_log(resources))
    assert list(read_log(resources, entry_filter(since="2027-01-01"))) == []
    assert list(read_log(resources, entry_filter(until=f"{now:%Y-%m-%d}"))) == [*before, *after], "a whole day"


def test_the_last_of_what_is_asked_for(resources, story, monkeypatch):
    monkeypatch.setattr("app.actions.read_log.PAGE", 2)
    everything = list(read_log(resources, entry_filter(event="file.deposited")))
    assert len(everything) == 2
    assert list(read_log(resources, entry_filter(event="file.deposited"), last=1)) == everything[-1:]
    assert list(read_log(resources, entry_filter(event="file.deposited"), last=9)) == everything


def test_following_begins_at_the_end_and_goes_on(resources, caller, story, monkeypatch):
    monkeypatch.setattr("app.actions.read_log.POLL_SECONDS", 0)
    following = follow_log(resources, entry_filter(event="transfer.created"), last=1)
    assert next(following).fields()["transfer"] == story[1].id
    new = [a_transfer(resources, caller).id for _ in range(3)]
    assert [entry.fields()["transfer"] for entry in islice(following, 3)] == new


def test_pages_lead_through_everything(resources, story, monkeypatch):
    monkeypatch.setattr("app.actions.read_log.PAGE", 3)
    everything, found = list(read_log(resources)), []
    start: int | None = 0
    while start is not None:
        page = page_of_log(resources, entry_filter(), start=start, limit=4)
        assert len(page.entries) <= 4
        found += page.entries
        start = page.following
    assert found == everything


def test_pages_lead_back_through_everything_whatever_is_written_meanwhile(resources, caller, story, monkeypatch):
    monkeypatch.setattr("app.actions.read_log.PAGE", 3)
    for wanted in (entry_filter(), entry_filter(transfer=story[0].id), entry_filter(event="share.issued")):
        everything, found = list(read_log(resources, wanted)), []
        page = page_of_log_backwards(resources, wanted, limit=2)
        while page.following is not None:
            assert len(page.entries) <= 2
            found += page.entries
            a_transfer(resources, caller)
            page = page_of_log_backwards(resources, wanted, start=page.following, limit=2)
        assert [*found, *page.entries] == everything[::-1]


def test_an_index_leads_to_the_entries_of_a_transfer(resources, story, monkeypatch):
    """However far back they are: a page of a long log is not empty before them."""
    monkeypatch.setattr("app.actions.read_log.PAGE", 6)
    monkeypatch.setattr("app.actions.read_log.PAGES_OF_AN_ANSWER", 1)
    wanted = entry_filter(transfer=story[0].id)
    expected = list(read_log(resources, wanted))
    with resources.database.writing() as transaction:
        now = resources.clock.now()
        transaction.log(*(Entry(event=Event.LINKS_REFUSED, at=now, actor="recipient", count=n) for n in range(20)))
    assert page_of_log_backwards(resources, wanted, limit=3).entries == expected[:-4:-1]


def test_a_page_back_that_finds_nothing_looks_at_a_bounded_part(resources, story, monkeypatch):
    monkeypatch.setattr("app.actions.read_log.PAGE", 2)
    monkeypatch.setattr("app.actions.read_log.PAGES_OF_AN_ANSWER", 2)
    newest = list(read_log(resources))[-1].sequence
    page = page_of_log_backwards(resources, entry_filter(event="drill.failed"), limit=10)
    assert (page.entries, page.following) == ([], newest - 4)
    assert page_of_log_backwards(resources, entry_filter(event="drill.failed"), start=3, limit=10).following is None


def test_a_page_that_finds_nothing_looks_at_a_bounded_part(resources, story, monkeypatch):
    monkeypatch.setattr("app.actions.read_log.PAGE", 2)
    monkeypatch.setattr("app.actions.read_log.PAGES_OF_AN_ANSWER", 2)
    page = page_of_log(resources, entry_filter(event="drill.failed"), start=0, limit=10)
    assert (page.entries, page.following) == ([], 4)


@pytest.mark.parametrize(
    "asked",
    [
        {"event": "share.stolen"},
        {"event": ""},
        {"transfer": "x"},
        {"transfer": "A" * 21 + "\0"},
        {"share": '"'},
        {"actor": "token:%"},
        {"actor": 'x","y":"z'},
        {"actor": "\0"},
    ],
)
def test_what_no_entry_can_hold_is_refused(asked):
    with pytest.raises(InvalidRequest):
        entry_filter(**asked)


def test_a_malformed_time_is_refused():
    with pytest.raises(InvalidTime):
        entry_filter(since="yesterday")
