"""Lesson 26, at the recipient's end: no fetched file lands outside the folder, behind a link, or on another file."""

import errno
import os
import resource

import pytest

from app.client.placing import Folder


@pytest.fixture
def top(tmp_path):
    (tmp_path / "top").mkdir()
    (tmp_path / "outside").mkdir()
    return tmp_path / "top"


def placed(top, relative, content="new"):
    part = top / ".part"
    part.write_text(content)
    *folders, name = relative.split("/")
    with Folder.entered(top, folders) as folder:
        return next(path.relative_to(top).as_posix() for path in folder.free(name) if folder.put(part, path.name))


def test_folders_are_made_once_and_only_for_their_user(top):
    assert [placed(top, name) for name in ("a/b/1", "a/b/2", "a/1")] == ["a/b/1", "a/b/2", "a/1"]
    assert {path.stat().st_mode & 0o777 for path in (top / "a", top / "a/b")} == {0o700}
    assert not (top / ".part").exists()


@pytest.mark.parametrize("stands", ["a link", "a dangling link", "a link to itself", "a file", "a pipe"])
def test_what_stands_in_the_place_of_a_folder_is_left_alone(top, stands):
    if stands == "a file":
        (top / "a").write_text("old")
    elif stands == "a pipe":
        os.mkfifo(top / "a")
    else:
        where = {"a link": "../outside", "a dangling link": "../nothing", "a link to itself": "a"}
        (top / "a").symlink_to(where[stands])
    assert placed(top, "a/1") == "a (2)/1"
    assert placed(top, "a/2") == "a (2)/2", "the next file of this folder"
    assert list((top / "../outside").iterdir()) == []


def test_a_folder_that_is_replaced_by_a_link_meanwhile_leads_nowhere_else(top):
    (top / ".part").write_text("new")
    with Folder.entered(top, ["a"]) as folder:
        (top / "a").rename(top / "moved")
        (top / "a").symlink_to("../outside")
        assert folder.put(top / ".part", "1")
    assert (top / "moved/1").read_text() == "new"
    assert list((top / "../outside").iterdir()) == []


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_name_that_is_taken_is_left_alone(top, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    (top / "a.csv").write_text("old")
    (top / "a (2).csv").symlink_to("nothing")
    assert placed(top, "a.csv") == "a (3).csv"
    assert (top / "a (3).csv").read_text() == "new"
    (top / ".part").write_text("newer")
    with Folder.entered(top, []) as folder:
        assert not folder.put(top / ".part", "a.csv"), "taken after it was looked up"
    assert (top / "a.csv").read_text() == "old"
    assert (top / ".part").read_text() == "newer"


def test_a_file_that_cannot_be_moved_leaves_no_empty_one(top, monkeypatch):
    """For example into a folder on another disk."""
    monkeypatch.setattr(os, "link", refusing(errno.EXDEV))
    monkeypatch.setattr(os, "replace", refusing(errno.EXDEV))
    with pytest.raises(OSError, match="refused"):
        placed(top, "a")
    assert [path.name for path in top.iterdir()] == [".part"]


def refusing(code):
    def refuse(*_args, **_options):
        raise OSError(code, "refused")

    return refuse


def test_as_many_folders_as_a_path_may_have_need_few_open_files(top):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(1)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 4, before[1]))
    try:
        assert placed(top, "/".join("a" * 256) + "/1").endswith("a/1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
