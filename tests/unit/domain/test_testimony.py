"""What sound entries say of a transfer; altered ones say nothing, and are remembered as altered."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain import testimony as testimony_module
from app.domain.audit_events import Entry, Event
from app.domain.share import ShareState
from app.domain.testimony import LIFE, Attested
from app.domain.transfer import TransferState

BEGAN = datetime(2026, 3, 2, 10, 15, 30, 250_000, tzinfo=UTC)
END = datetime(2026, 3, 4, 10, 15, 31, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def attested(sequence: int, event: Event, **fields) -> Attested:
    """An entry as it is stored; its time is so many seconds after the first."""
    at = BEGAN + sequence * SECOND
    content = Entry(event=event, at=at, actor="system", **fields).content(sequence, "AAAAAAAAAAAAAAAAAAAAAA")
    return Attested(sequence, bytes(32), content, at, sound=True)


LIFE_OF_ONE = [
    attested(0, Event.TRANSFER_CREATED, expires_at=END, sealed=False),
    attested(1, Event.FILE_DEPOSITED, file=0, size=7, blob="b"),
    attested(2, Event.SHARE_ISSUED, share="s", expires_at=END),
    attested(3, Event.PASSWORD_WRONG, share="s", count=2),
    attested(4, Event.SHARE_CLAIMED, share="s", claim="c"),
    attested(5, Event.SHARE_COMPLETED, share="s"),
    attested(6, Event.TRANSFER_DENIED, outcome="completed"),
    attested(7, Event.KEYS_DESTROYED),
    attested(8, Event.BYTES_DELETED),
    attested(9, Event.TRANSFER_DELETED),
]


def told(*entries: Attested) -> testimony_module.Testimony:
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
    assert (life.blobs, life.files[0].size, life.closed_at) == ({"b"}, 7, BEGAN + 2 * SECOND)
    share = life.shares["s"]
    assert (share.state, share.claim, share.wrong_passwords) == (ShareState.COMPLETED, "c", 2)
    assert (share.claimed_at, share.ended_at) == (BEGAN + 4 * SECOND, BEGAN + 5 * SECOND)
    assert (life.denied_at, life.ending, life.state_at) == (BEGAN + 6 * SECOND, "completed", BEGAN + 9 * SECOND)
    assert (life.altered, life.mistimed, life.entries, life.leaves) == (
        False, False, 10, {number: bytes(32) for number in range(10)},
    )  # fmt: skip


def test_the_earliest_end_that_an_entry_names_counts():
    earlier = attested(1, Event.SHARE_ISSUED, share="s", expires_at=END - SECOND)
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


def test_a_column_that_says_another_time_is_noticed_and_not_believed():
    testimony = told(LIFE_OF_ONE[0]._replace(at=BEGAN + timedelta(days=400)))
    assert (testimony.mistimed, testimony.created_at) == (True, BEGAN)


def test_every_event_of_a_life_is_understood():
    known = {entry.fields["event"] for entry in LIFE_OF_ONE} | {"share.prepared"}
    ends = {"share.lapsed", "share.withdrawn", "share.locked", "share.expired"}
    assert {event.value for event in LIFE} == known | ends
