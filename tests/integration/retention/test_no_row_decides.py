"""Nobody who writes to the database is believed: no row prolongs a life, opens a share twice or lies unnoticed.

Lesson 38: change any column of any table, and nothing outlives its expiry, is redeemed twice or lies unseen.
Every column of every table, each kind of value, at each moment of a transfer's life. A few of each here; all of them
with `make acceptance`.
"""

import shutil
from dataclasses import replace
from itertools import product

import pytest

from app.lifecycle.gone import ListingPace
from app.runtime import resources as resources_module
from scheduler import timetable as timetable_module
from tests.integration.retention import alterations, altered_stories
from tests.integration.retention.alterations import (
    CHOSEN_TOKEN,
    COMBINED,
    Alteration,
    Carries,
    alterations_of,
    carried_by,
    every_column,
)
from tests.integration.retention.altered_stories import Moment, begin, from_here, go_on
from tests.integration.retention.running_service import receipt
from tests.marks import first

SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""Stories begin with copies of a whole installation."""

COLUMNS = {f"{column.table.name}.{column.name}": column for column in every_column()}
EVERY_ALTERATION = {name: alterations_of(column) for name, column in COLUMNS.items()} | {
    alteration.name: [alteration] for alteration in COMBINED
}
DERIVED = {"audit_entries.event", "audit_entries.transfer"}
"""Computed by the database: no statement writes them."""


@pytest.fixture(scope="module")
def beginnings():
    """Installations at each moment, made when first needed."""
    return {}


@pytest.fixture
def story_from(beginnings, start_service, built_sqlite, time, tmp_path_factory, monkeypatch):
    """Begins a story at a moment, in a copy of its own."""
    moved = vars(resources_module)["Clock"]  # by the fixture that starts services
    monkeypatch.setattr(timetable_module, "Clock", moved)
    # Listings are paced by the real time, of which a story takes next to none.
    monkeypatch.setattr(timetable_module, "ListingPace", lambda: ListingPace(rest=0))

    def story(moment):
        if moment not in beginnings:
            folder = tmp_path_factory.mktemp("beginning", numbered=True)
            (folder / "db").mkdir(mode=0o700)
            shutil.copyfile(built_sqlite, folder / "db" / "caducee.sqlite")
            beginnings[moment] = begin(start_service, time, folder, moment)
        copy = tmp_path_factory.mktemp("story", numbered=True) / "data"
        return from_here(beginnings[moment], start_service, time, copy)

    return story


def complaints(story_from, alteration: Alteration, moment: Moment) -> list[str] | None:
    """What does not hold after this alteration at this moment; None where it changes nothing."""
    with story_from(moment) as story:
        if not story.alter(alteration):
            return None
        go_on(story, moment)
        return [f"{moment}: {alteration.name}: {complaint}" for complaint in story.complaints]


TELLING = {
    "service_state.anchor_at": ("ten years earlier", Moment.ISSUED),
    "service_state.time_mark": ("an hour later", Moment.BEFORE_DEPOSIT),
    "transfers.state": ("verified", Moment.ISSUED),
    "transfers.expires_at": ("a day later", Moment.DELETING),
    "files.number": ("one more", Moment.CLAIMED),
    "files.state": ("receiving", Moment.ISSUED),
    "shares.state": ("issued", Moment.COMPLETED),
    "claims.token_digest": ("chosen", Moment.CLAIMED),
    "audit_entries.content": ("another size", Moment.CLAIMED),
    "everything live again": ("everything live again", Moment.ENDED),
}
"""Where another alteration or moment than the usual one fails first, were the column believed."""

USUALLY = ("a day later", "ten years more", "one more", "flipped", "another")


def most_telling(name: str) -> tuple[Alteration, Moment]:
    """The alteration, and its moment, that stands for all of that name in the short run."""
    kinds = {each.name.removeprefix(f"{name} "): each for each in EVERY_ALTERATION[name]}
    if name in TELLING:
        kind, moment = TELLING[name]
        return kinds[kind], moment
    kind = next((kind for kind in USUALLY if kind in kinds), name)
    return kinds[kind], Moment.CLAIMED if "claims" in name else Moment.ISSUED


def carries_nothing(name: str) -> bool:
    return name in COLUMNS and carried_by(*name.split(".")) is Carries.NOTHING


def all_that_carries_nothing(table: str) -> Alteration:
    """For the short run: every such time of a table a day later, at once. The long run takes one by one."""
    times = [
        alteration
        for name in COLUMNS
        if name.startswith(f"{table}.") and carries_nothing(name)
        for alteration in EVERY_ALTERATION[name]
        if alteration.name == f"{name} a day later"
    ]
    assignments = ", ".join(each.assignment for each in times)
    return Alteration(f"times of {table}", (f"UPDATE {table} SET {assignments} WHERE {{rows of {table}}}",))


def moments_of(name: str) -> list[Moment]:
    """The moments at which the long run alters; where a column carries nothing, before and while bytes flow."""
    if carries_nothing(name):
        return [Moment.ISSUED, Moment.DOWNLOADING]
    return list(Moment)


def test_every_column_is_classified():
    """A new column is altered by itself; this fails until somebody says what a lie in it must make red."""
    assert [carried_by(column.table.name, column.name) for column in every_column()]
    listed = set(alterations.CARRIES_NOTHING) | alterations.CARRIES_AN_INDEX
    listed |= {f"{table}.{name}" for table, names in alterations.CARRIES_A_PROMISE.items() for name in names.split()}
    assert listed == set(COLUMNS)


@SQLITE
@pytest.mark.parametrize("moment", first(2, dict.fromkeys([Moment.DOWNLOADING, Moment.ENDED, *Moment])))
def test_where_nothing_is_altered_everything_is_delivered_gone_and_green(story_from, moment):
    """No false alarms, and no story in which nothing happens."""
    with story_from(moment) as story:
        go_on(story, moment)
        assert story.complaints == []
        assert [each.name for each in story.all_followed()] == ["plain", "sealed", "untouched"]
        for followed in story.all_followed():
            fetched_by = 0 if moment == Moment.DELETING and followed is not story.control else 1
            assert len(followed.served_to) == fetched_by
            assert receipt(story.service.web, followed.id) is not None
        assert [stream.cut for stream in story.streams] == [True] * (2 if moment == Moment.DOWNLOADING else 0)


@SQLITE
@pytest.mark.parametrize("name", [name for name in EVERY_ALTERATION if not carries_nothing(name)])
def test_no_alteration_decides(story_from, name):
    """The most telling alteration of each column, and every combination, at the moment that suits it."""
    found = complaints(story_from, *most_telling(name))
    assert found is not None, "this changes nothing"
    assert not found, "\n".join(found)


@SQLITE
@pytest.mark.parametrize("table", ["service_state", "transfers", "files", "shares", "claims"])
def test_what_carries_nothing_decides_nothing(story_from, table):
    found = complaints(story_from, all_that_carries_nothing(table), Moment.CLAIMED)
    assert found is not None, "this changes nothing"
    assert not found, "\n".join(found)


@SQLITE
@pytest.mark.acceptance
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", EVERY_ALTERATION)
def test_no_alteration_decides_at_any_moment(story_from, name):
    """Every kind of value, at every moment: all that does not hold is reported together."""
    told = {
        (alteration.name, moment): complaints(story_from, alteration, moment)
        for alteration, moment in product(EVERY_ALTERATION[name], moments_of(name))
    }
    stories = [story for story in told.values() if story is not None]
    assert stories or name in DERIVED, "no such alteration changes anything"
    found = [complaint for story in stories for complaint in story]
    print(f"{name}: {len(stories)} stories, {len(found)} complaints")
    assert not found, "\n".join([f"{len(found)} complaints", *found])


# --- the oracle can fail


@SQLITE
def test_what_is_read_too_early_is_complained_about(story_from):
    """The look past the end, taken before it: links and claims open, keys and blobs are there."""
    with story_from(Moment.ISSUED) as story:
        for followed in story.followed:
            story.look_past_the_end(followed)
        assert {
            "(1) the plain transfer is claimed past the expiry",
            "(1) the sealed transfer is claimed past the expiry",
            "(1) a shred key of the plain transfer is in the vault past the expiry",
            "(1) a blob is left past the expiry and nothing is red (sealed)",
        } <= set(story.complaints)
    with story_from(Moment.DOWNLOADING) as story:
        for followed in story.followed:
            story.look_past_the_end(followed)
        assert {
            "(1) a download goes on past the expiry",
            "(1) `files` of the plain transfer yields bytes past the expiry",
            "(1) `blobs` of the sealed transfer yields bytes past the expiry",
        } <= set(story.complaints)


@SQLITE
def test_a_second_recipient_and_foreign_bytes_are_complained_about(story_from):
    with story_from(Moment.CLAIMED) as story:
        plain, sealed = story.followed
        plain.served_to.add(CHOSEN_TOKEN)
        story.fetch(story.service.web, plain, plain.claims[0], decrypted=True)
        story.fetch(story.service.web, plain, sealed.claims[0], decrypted=False)
        assert story.complaints == [
            "(2) the share of the plain transfer yields bytes to two claim tokens",
            "(2) a claim of the plain transfer yields bytes of another",
        ]


@SQLITE
def test_a_lie_that_nobody_notices_is_complained_about(story_from, monkeypatch):
    """Were a label a promise, nothing would be red."""
    monkeypatch.delitem(alterations.CARRIES_NOTHING, "transfers.label")
    monkeypatch.setitem(alterations.CARRIES_A_PROMISE, "transfers", "id label")
    label = next(each for each in EVERY_ALTERATION["transfers.label"] if each.name.endswith("another"))
    assert complaints(story_from, label, Moment.ISSUED) == [
        "before the claim: transfers.label another: (3) transfers.label: the lie stands and nothing is red"
    ]


@SQLITE
def test_a_deletion_that_is_attested_too_early_is_complained_about(story_from, monkeypatch):
    """The key comes back behind the service's back, between two looks. The service gives no receipt then; were one
    given, that would be complained about too.
    """
    with story_from(Moment.ENDED) as story:
        plain, _ = story.followed
        hour = story.service.folder / "vault" / "2026-03-02T10"
        hour.mkdir(exist_ok=True)
        (hour / f"{int(plain.ends.timestamp())}.{plain.id}").write_bytes(bytes(60))
        story.look_for_false_attestations()
        by_the_log = "(4) the log says that the plain transfer is deleted, and it is held"
        assert story.complaints == [by_the_log]
        monkeypatch.setattr(altered_stories, "receipt", lambda _resources, _transfer_id: "deleted")
        story.complaints.clear()
        story.look_for_false_attestations()
        by_receipt = "(4) a receipt says that the plain transfer is deleted, and it is held"
        assert story.complaints[:2] == [by_the_log, by_receipt]


@SQLITE
def test_a_delivery_that_fails_quietly_is_complained_about(story_from):
    with story_from(Moment.ISSUED) as story:
        story.control.ticket = replace(story.control.ticket, password="0000-0000-0000-0000")
        story.deliver_untouched()
        assert story.complaints == ["(5) the untouched transfer is refused and nothing is red: WrongPassword"]
