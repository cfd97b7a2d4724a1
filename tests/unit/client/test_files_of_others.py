"""Files that others may put where the client writes: none is followed, replaced or believed."""

from __future__ import annotations

import os

import pytest

from app.client.durable import locked, write_durably
from app.client.errors import NotConfigured
from app.client.state import ClaimRecord, ClientState, SendRecord
from app.client.unfinished import record_part, remove_parts


def test_a_lock_that_leads_to_another_file_is_refused(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for make in (os.symlink, os.link):
        lock = tmp_path / make.__name__
        make(precious, lock)
        with pytest.raises(OSError, match=r"."), locked(lock, "in use"):
            raise AssertionError("the lock was taken")
    assert precious.read_text() == "kept"


def test_what_lies_in_the_place_of_a_new_file_is_not_written_to(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "record.new").symlink_to(precious)
    write_durably(tmp_path / "record", b"new")
    assert ((tmp_path / "record").read_bytes(), precious.read_text()) == (b"new", "kept")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"token": "x"}'])
def test_a_damaged_record_is_no_absent_one(tmp_path, damage):
    """Its link may be valid, its token the only one that can go on."""
    path = tmp_path / "send.json"
    path.write_bytes(damage)
    for load in (SendRecord(tmp_path).load, lambda: ClaimRecord(path)):
        with pytest.raises(NotConfigured, match=r"send\.json is damaged"):
            load()
    assert path.read_bytes() == damage


def test_an_unfinished_file_on_a_volume_that_is_not_mounted_stays_recorded(tmp_path):
    with ClientState(tmp_path / "state").claiming("A" * 22) as record:
        part = tmp_path / ".caducee-a-0.part"
        part.touch()
        record_part(record, part)
        record.parts[str(tmp_path / "other.part")] = -1  # what was created there lies on another device
        remove_parts(record)
        assert (part.exists(), list(record.parts)) == (False, [str(tmp_path / "other.part")])
