"""Which files are sent of what a user names, and in which folders recipients get them."""

import json
import os
from pathlib import Path

import pytest

from app.client.collecting import collect, is_left_out
from app.client.errors import NotSendable

LEFT_OUT = json.loads((Path(__file__).parents[2] / "vectors" / "left-out.json").read_text("utf-8"))


@pytest.fixture
def tree(tmp_path):
    for name in ("export/b/1.csv", "export/a.csv", "export/b/.hidden", "other/export/1.csv", "1.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def shown(*paths):
    return [file.shown for file in collect(paths)]


def test_a_folder_keeps_its_name_and_those_below_it_in_order(tree):
    expected = ["export/a.csv", "export/b/.hidden", "export/b/1.csv"]
    assert shown(tree / "export") == expected
    assert shown(tree / "1.csv", tree / "export") == ["1.csv", *expected]
    (tree / "latest").symlink_to(tree / "export")
    assert shown(tree / "latest") == [each.replace("export", "latest") for each in expected], "a name the user chose"


def test_a_folder_without_a_name_has_that_of_the_folder_it_is(tree, monkeypatch):
    monkeypatch.chdir(tree / "export/b")
    assert shown(Path()) == ["b/.hidden", "b/1.csv"]
    assert shown(Path("..")) == ["export/a.csv", "export/b/.hidden", "export/b/1.csv"]


def test_what_is_left_out_of_a_folder_is_what_the_staffs_page_leaves_out():
    assert [name for name in LEFT_OUT["left_out"] if not is_left_out(name)] == []
    assert [name for name in LEFT_OUT["sent"] if is_left_out(name)] == []


def test_what_has_the_same_name_keeps_the_folder_in_front_of_it(tree, monkeypatch):
    """Otherwise nobody could tell them apart any more."""
    monkeypatch.chdir(tree / "export")
    assert shown(Path("b/1.csv"), Path("../other/export/1.csv"), Path("a.csv")) == ["b/1.csv", "export/1.csv", "a.csv"]
    both = shown(Path(), tree / "other" / "export")
    assert [each.partition("/")[2] for each in both] == [
        "export/a.csv",
        "export/b/.hidden",
        "export/b/1.csv",
        "export/1.csv",
    ]
    assert {each.partition("/")[0] for each in both} == {tree.name, "other"}


def test_two_that_would_fall_together_are_refused(tree):
    (tree / "b").mkdir()
    (tree / "b/1.csv").touch()
    for pair in (("b/1.csv", "export/b/1.csv"), ("export", "export"), ("1.csv", "1.csv")):
        with pytest.raises(NotSendable, match="same name"):
            collect([tree / name for name in pair])


def test_a_folder_that_nobody_could_restore_is_refused_before_anything_is_read(tree):
    """However deep: the system's own functions end at 4,096 bytes, with an error that names no remedy."""
    descriptor = os.open(tree / "export", os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d" * 50, dir_fd=descriptor)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    with pytest.raises(NotSendable, match="longer than 512 bytes"):
        collect([tree / "export"])
    (tree / "other" / "C:").mkdir()
    with pytest.raises(NotSendable, match="drive"):
        collect([tree / "other"])


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("a.csv"), lambda path: path.symlink_to("b")])
def test_what_is_no_file_and_no_folder_is_refused(tree, make):
    make(tree / "export" / "x")
    with pytest.raises(NotSendable, match="not a regular file"):
        collect([tree / "export"])
