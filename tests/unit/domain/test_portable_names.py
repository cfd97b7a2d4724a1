"""Names that every system can store, against the vectors that the page's script is tested with, too."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.portable_names import MAX_PORTABLE_BYTES, distinct_paths

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "file-names.json").read_text("utf-8"))["cases"]
IMPOSSIBLE = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^[.\s]|[.\s]$')
DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\s*(\.|$)", re.ASCII)
PARTS = st.sampled_from(
    ["a", "A", "é", "e\u0301", "ß", "ss", ".", " ", ":", "/", "CON", "\u202e", "x" * 90, "😀" * 40, ".csv"]
)


FOLDERS = st.lists(st.lists(PARTS, max_size=3).map("".join), max_size=4).map("/".join)
FILES = st.lists(st.tuples(FOLDERS, st.lists(PARTS, max_size=6).map("".join)), max_size=12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_vector(case):
    folders = case.get("folders", [""] * len(case["given"]))
    names = (name or "" for name in case["given"])
    assert distinct_paths(zip(folders, names, strict=True)) == case["portable"]


@given(FILES)
def test_whatever_is_given_can_be_stored_together_on_every_system(files):
    """Lesson 47: no name or folder is impossible on Windows, none falls together with another there or on macOS, and no
    folder has the name of a file.
    """
    paths = distinct_paths(files)
    assert len(paths) == len(files)
    for path in paths:
        for name in path.split("/"):
            assert name
            assert not IMPOSSIBLE.search(name)
            assert not DEVICE.match(name)
            assert len(name.encode()) <= MAX_PORTABLE_BYTES + 1, "one more for the mark before a device's name"
    folded = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    assert len(set(folded)) == len(paths)
    folders = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 1)}
    assert len({unicodedata.normalize("NFC", each).casefold() for each in folders}) == len(folders)
    assert not set(folded) & {unicodedata.normalize("NFC", each).casefold() for each in folders}


@given(FILES)
def test_files_of_one_folder_stay_in_one_folder_and_others_apart(files):
    folders: dict[str, set[str]] = {}
    for (given_path, _), path in zip(files, distinct_paths(files), strict=True):
        folders.setdefault(given_path, set()).add(path.rpartition("/")[0])
    assert all(len(stored) == 1 for stored in folders.values())
    assert len({stored for each in folders.values() for stored in each}) == len(folders)


@given(FILES)
def test_a_clean_path_stays_as_it_is(files):
    """Clients clean again what the service has cleaned."""
    paths = distinct_paths(files)
    assert distinct_paths((above, name) for above, _, name in (path.rpartition("/") for path in paths)) == paths


def test_as_many_equal_names_as_an_archive_may_hold_take_no_time():
    assert distinct_paths([("", "a.csv")] * 20_000)[-1] == "a (20000).csv"
    deep = "/".join("a" * 256)
    assert distinct_paths([(deep, "a")] * 1_000)[-1] == f"{deep}/a (1000)"
