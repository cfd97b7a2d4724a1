"""What sound entries say of a transfer; altered ones say nothing, and are remembered as altered."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain import testimony as testimony_module
from app.domain.audit_events import Entry, Event
from app.domain.share import ShareState
from app.domain.testimony import LIFE, AttestedEntry
from app.domain.transfer import TransferState

BEGAN = datetime(2026, 3, 2, 10, 15, 30, 250_000, tzinfo=UTC)
END = datetime(2026, 3, 4, 10, 15, 31, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BLOB, SHARE, CLAIM, OTHER = (letter * 21 + "A" for letter in "bsco")


def attested(sequence: int, event: Event, **fields) -> AttestedEntry:
    """An entry as it is stored; its time is so many seconds after the first."""
    at = BEGAN + sequence * SECOND
    content = Entry(event=event, at=at, actor="system", **fields).content(sequence, "AAAAAAAAAAAAAAAAAAAAAA")
    return AttestedEntry(sequence, bytes(32), content, at, sound=True)


LIFE_OF_ONE = [
    attested(0, Event.TRANSFER_CREATED, expires_at=END, sealed=False),
    attested(1, Event.FILE_DEPOSITED, file=0, size=7, blob=BLOB),
    attested(2, Event.SHARE_ISSUED, share=SHARE, expires_at=END),
    attested(3, Event.PASSWORD_WRONG, share=SHARE, count=2),
    attested(4, Event.SHARE_CLAIMED, share=SHARE, claim=CLAIM),
    attested(5, Event.SHARE_COMPLETED, share=SHARE),
    attested(6, Event.TRANSFER_DENIED, outcome="completed"),
    attested(7, Event.KEYS_DESTROYED),
    attested(8, Event.BYTES_DELETED),
    attested(9, Event.TRANSFER_DELETED),
]


def told(*entries: AttestedEntry) -> testimony_module.Testimony:
    testimony = testimony_module.Testimony(leaves={})
    for entry in entries:
        testimony.add(entry)
    return testimony


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        (1, TransferState.RECEIVING),
        (2, TransferState.LIVE),
        (6, TransferState.LIVE),
        (7, TransferState.DENIED),
        (8, TransferState.KEYS_DESTROYED),
        (9, TransferState.BYTES_DELETED),
        (10, TransferState.VERIFIED),
    ],
)
def test_the_last_word_is_the_state(entries, state):
    assert told(*LIFE_OF_ONE[:entries]).state == state


def test_a_whole_life():
    life = told(*LIFE_OF_ONE)
    assert (life.created_at, life.expires_at, life.ends_at) == (BEGAN, END, END)
    assert (life.blobs, life.files[0].size, life.closed_at) == ({BLOB}, 7, BEGAN + 2 * SECOND)
    share = life.shares[SHARE]
    assert (share.state, share.claim, share.wrong_passwords) == (ShareState.COMPLETED, CLAIM, 2)
    assert (share.claimed_at, share.ended_at) == (BEGAN + 4 * SECOND, BEGAN + 5 * SECOND)
    assert (life.denied_at, life.ending, life.state_at) == (BEGAN + 6 * SECOND, "completed", BEGAN + 9 * SECOND)
    assert (life.altered, life.mistimed, life.entries, life.leaves) == (
        False, False, 10, {number: bytes(32) for number in range(10)},
    )  # fmt: skip


def test_the_earliest_end_that_an_entry_names_counts():
    earlier = attested(1, Event.SHARE_ISSUED, share=SHARE, expires_at=END - SECOND)
    assert told(LIFE_OF_ONE[0], earlier).ends_at == END - SECOND


def test_nothing_is_said_without_entries():
    assert (told().ends_at, told().state, told().blobs, told().closed_at) == (None, None, set(), None)


@pytest.mark.parametrize(
    "changed",
    [
        {"sound": False},
        {"sequence": 3},
        {"fields": {}},
        {"fields": {"time": "soon"}},
        {"fields": {**LIFE_OF_ONE[0].fields, "event": "transfer.invented"}},
        {"fields": {**LIFE_OF_ONE[0].fields, "expires_at": 7}},
    ],
    ids=lambda changed: str(changed)[:50],
)
def test_an_altered_entry_says_nothing(changed):
    testimony = told(LIFE_OF_ONE[0]._replace(**changed))
    assert testimony.altered
    assert testimony.expires_at is None


CREATED, DEPOSITED, ISSUED, _WRONG, CLAIMED, *_REST = LIFE_OF_ONE


@pytest.mark.parametrize(
    "again",
    [
        attested(10, Event.TRANSFER_CREATED, expires_at=END + SECOND, sealed=True),
        attested(10, Event.FILE_DEPOSITED, file=0, size=9, blob=OTHER),
        attested(10, Event.SHARE_ISSUED, share=SHARE, expires_at=END + SECOND),
        attested(10, Event.SHARE_PREPARED, share=SHARE, expires_at=END + SECOND),
        attested(10, Event.SHARE_CLAIMED, share=SHARE, claim=OTHER),
    ],
    ids=lambda entry: entry.fields["event"],
)
def test_of_what_happens_once_the_first_entry_counts(again):
    """A second one with a valid hash can be appended by whoever writes to the database."""
    once, twice = told(*LIFE_OF_ONE[:5]), told(*LIFE_OF_ONE[:5], again)
    assert (once.repeated, twice.repeated) == (False, True)
    assert (twice.created, twice.expires_at, twice.files) == (once.created, once.expires_at, once.files)
    share = twice.shares[SHARE]
    assert (share.claim, share.expires_at, twice.state) == (CLAIM, END, once.state)


def test_every_blob_that_was_ever_named_is_looked_for():
    again = attested(10, Event.FILE_DEPOSITED, file=0, size=7, blob=OTHER)
    assert told(*LIFE_OF_ONE[:2], again).blobs == {BLOB, OTHER}


def test_a_share_is_prepared_and_then_issued():
    prepared = attested(2, Event.SHARE_PREPARED, share=SHARE, expires_at=END)
    life = told(CREATED, DEPOSITED, prepared, attested(3, Event.SHARE_ISSUED, share=SHARE, expires_at=END))
    assert (life.repeated, life.shares[SHARE].state) == (False, ShareState.ISSUED)


@pytest.mark.parametrize(
    ("entry", "changed"),
    [
        (CREATED, {"expires_at": "2030-01-01T00:00:00"}),
        (CREATED, {"expires_at": "2030-01-01T00:00:00+01:00"}),
        (CREATED, {"time": "2030-01-01T00:00:00"}),
        (CREATED, {"owner": 7}),
        (CREATED, {"owner": "x", "salt": 7}),
        (DEPOSITED, {"blob": "x"}),
        (DEPOSITED, {"blob": [BLOB]}),
        (DEPOSITED, {"size": "x"}),
        (DEPOSITED, {"size": -1}),
        (DEPOSITED, {"size": True}),
        (DEPOSITED, {"size": 2**53}),
        (DEPOSITED, {"file": [0]}),
        (ISSUED, {"share": "x"}),
        (ISSUED, {"share": {}}),
        (ISSUED, {"expires_at": "2030-01-01T00:00:00"}),
        (ISSUED, {"expires_at": None}),
        (_WRONG, {"count": "2"}),
        (_WRONG, {"share": OTHER}),
        (CLAIMED, {"claim": "x"}),
        (CLAIMED, {"event": ["share.claimed"]}),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_or_form_makes_its_entry_an_altered_one(entry, changed):
    before = LIFE_OF_ONE[: LIFE_OF_ONE.index(entry)]
    testimony = told(*before, entry._replace(fields={**entry.fields, **changed}))
    assert testimony.altered
    expected = told(*before)
    assert (testimony.created, testimony.files, testimony.shares) == (
        expected.created, expected.files, expected.shares,
    )  # fmt: skip


def test_a_column_that_says_another_time_is_noticed_and_not_believed():
    testimony = told(LIFE_OF_ONE[0]._replace(at=BEGAN + timedelta(days=400)))
    assert (testimony.mistimed, testimony.created_at) == (True, BEGAN)


def test_every_event_of_a_life_is_understood():
    known = {entry.fields["event"] for entry in LIFE_OF_ONE} | {"share.prepared", "share.keys_destroyed"}
    ends = {"share.lapsed", "share.withdrawn", "share.locked", "share.expired"}
    assert {event.value for event in LIFE} == known | ends
