"""Names that every system can store, against the vectors that the page's script is tested with, too."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.portable_names import MAX_PORTABLE_BYTES, distinct_names

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "file-names.json").read_text("utf-8"))["cases"]
IMPOSSIBLE = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^[.\s]|[.\s]$')
DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\s*(\.|$)", re.ASCII)
PARTS = st.sampled_from(
    ["a", "A", "é", "e\u0301", "ß", "ss", ".", " ", ":", "/", "CON", "\u202e", "x" * 90, "😀" * 40, ".csv"]
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_vector(case):
    assert distinct_names(name or "" for name in case["given"]) == case["portable"]


@given(st.lists(st.lists(PARTS, max_size=6).map("".join), max_size=12))
def test_whatever_is_given_can_be_stored_together_on_every_system(given_names):
    """Lesson 47: no name is impossible on Windows, and none falls together with another there or on macOS."""
    names = distinct_names(given_names)
    assert len(names) == len(given_names)
    for name in names:
        assert name
        assert not IMPOSSIBLE.search(name)
        assert not DEVICE.match(name)
        assert len(name.encode()) <= MAX_PORTABLE_BYTES + 1, "one more for the mark before a device's name"
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)


@given(st.lists(st.lists(PARTS, max_size=6).map("".join), max_size=6))
def test_a_clean_name_stays_as_it_is(given_names):
    """Clients clean again what the service has cleaned."""
    names = distinct_names(given_names)
    assert distinct_names(names) == names


def test_as_many_equal_names_as_an_archive_may_hold_take_no_time():
    assert distinct_names(["a.csv"] * 20_000)[-1] == "a (20000).csv"
