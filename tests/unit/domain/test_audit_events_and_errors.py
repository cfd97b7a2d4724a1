"""What an entry of the log can hold, and that every refusal has a name of its own."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from app.crypto.encoding import encode
from app.db.column_types import LAST_MEMBER
from app.domain import errors
from app.domain.audit_events import Entry, Event, log_time
from app.domain.errors import Refusal, every_refusal

NOW = datetime(2026, 3, 2, 10, 15, 30, 1, tzinfo=UTC)


def test_an_entry_has_no_field_for_a_name_a_label_a_recipient_or_any_free_text():
    """Lesson 36 (CNIL 2021-122): whoever adds a field to the log comes by here and says why it holds no such thing."""
    assert list(Entry._fields) == [
        "event",
        "at",
        "actor",  # system, scheduler, operator, recipient, token:<id>
        "transfer",
        "share",
        "claim",
        "token",
        "role",
        "file",  # its number
        "files",
        "size",
        "address",
        "expires_at",
        "purpose",  # from a configured list
        "records",
        "sealed",
        "outcome",  # a word of the program's
        "lateness_ms",
        "count",
        "quoted",  # a checkpoint of this log, as it was signed
        "below",  # the sequence of an entry
        "blob",  # a random id of the program's
        "owner",  # a digest under the salt of the entry
        "acknowledged",
        "cut",
        "operator",  # who ran a command: a login of the machine, which is what CNIL 2021-122 asks for
        "reason",  # one of five words
        "addresses",  # networks with counts
        "lost",  # a number of entries
        "session",
    ]


def test_an_entry_is_written_with_its_sequence_and_salt_and_without_what_is_absent():
    entry = Entry(event=Event.FILE_DEPOSITED, at=NOW, actor="system", file=0, size=0, sealed=False, expires_at=NOW)
    assert entry.content(7, "salt") == {
        "sequence": 7,
        "salt": "salt",
        "event": "file.deposited",
        "time": "2026-03-02T10:15:30.000001Z",
        "actor": "system",
        "file": 0,
        "size": 0,
        "sealed": False,
        "expires_at": "2026-03-02T10:15:30.000001Z",
    }


def test_an_owner_is_written_as_a_digest_that_only_the_salt_of_its_entry_compares():
    entry = Entry(event=Event.TRANSFER_CREATED, at=NOW, actor="token:x", owner="token:x")
    first, second = (entry.content(0, salt)["owner"] for salt in ("A" * 22, "B" * 22))
    assert first == encode(sha256(bytes(16) + b"token:x").digest())
    assert first != second


def test_the_transfer_is_the_last_member():
    """SQLite looks for it at the end (app/db/column_types.py)."""
    assert max(Entry._fields) == LAST_MEMBER


def test_times_in_the_log_sort_as_text():
    moments = [NOW + timedelta(microseconds=step) for step in (0, 1, 999_998, 999_999, 10**9)]
    assert sorted(map(log_time, moments)) == [log_time(moment) for moment in moments]


def test_events_read_subject_and_action():
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", event) for event in Event)


def test_every_refusal_has_a_code_of_its_own_and_says_something():
    refusals = every_refusal()
    codes = [refusal.code for refusal in refusals]
    assert len(refusals) > 30
    assert len(set(codes)) == len(codes)
    assert "refused" not in codes
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    titles = [refusal.title for refusal in refusals]
    assert len(set(titles)) == len(titles)


def test_every_refusal_of_the_module_is_in_the_list():
    defined = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Refusal) and value is not Refusal
    ]
    assert defined == every_refusal()


@pytest.mark.parametrize("refusal", every_refusal())
def test_a_refusal_reads_as_its_title_unless_there_is_more_to_say(refusal):
    assert str(refusal()) == refusal().detail == refusal.title
    told = refusal("More to say.", attempts_left=2)
    assert (str(told), told.members) == ("More to say.", {"attempts_left": 2})
