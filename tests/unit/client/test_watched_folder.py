"""Which files of a watched folder are ready, which never will be, and that only what was sent leaves `out`."""

import json
import os

import pytest

from app.client.errors import NotConfigured
from app.client.watched_folder import Identity, WatchedFolder


@pytest.fixture
def folder(tmp_path):
    return WatchedFolder(tmp_path, settle_seconds=10)


def look(folder, now):
    found = folder.look(now)
    return [file.name for file in found.ready], {file.name: why.code for file, why in found.unsendable}, found.unsettled


def test_a_file_is_ready_once_it_stayed_the_same_for_the_settle_time(folder):
    path = folder.out / "a.csv"
    path.write_bytes(b"1")
    assert look(folder, 0.0) == ([], {}, 1)
    path.write_bytes(b"12")
    assert look(folder, 9.0) == ([], {}, 1)
    assert look(folder, 18.9) == ([], {}, 1), "counted from its last change"
    assert look(folder, 19.0) == (["a.csv"], {}, 0)
    path.write_bytes(b"123")
    assert look(folder, 20.0) == ([], {}, 1)


def test_without_settle_time_it_is_ready_at_once(tmp_path):
    folder = WatchedFolder(tmp_path, settle_seconds=0)
    (folder.out / "a.csv").write_bytes(b"1")
    assert look(folder, 0.0) == (["a.csv"], {}, 0)


def test_a_companion_declares_a_file_complete_unless_it_is_older(folder):
    """One that was left from an earlier file of the same name says nothing."""
    for name, age in (("new.csv", 1), ("old.csv", -1)):
        (folder.out / name).write_bytes(b"1")
        (folder.out / f"{name}.ok").touch()
        os.utime(folder.out / name, ns=(0, 10**18))
        os.utime(folder.out / f"{name}.ok", ns=(0, 10**18 + age))
    (folder.out / "linked.csv").write_bytes(b"1")
    (folder.out / "linked.csv.ok").symlink_to(folder.out / "new.csv.ok")
    assert look(folder, 0.0) == (["new.csv"], {}, 2)
    assert look(folder, 10.0)[0] == ["linked.csv", "new.csv", "old.csv"], "companions are never sent"


def test_what_another_program_still_writes_is_left_alone(folder):
    for name in (".hidden", "a.tmp", "a.part", "a.PARTIAL", "a.filepart", "a.crdownload", "a.ok"):
        (folder.out / name).write_bytes(b"1")
    assert look(folder, 0.0) == look(folder, 100.0) == ([], {}, 0)


def test_what_can_never_be_sent_is_named_once_it_has_settled(folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"of somebody else")
    (folder.out / "soft").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", folder.out / "hard")
    os.mkfifo(folder.out / "pipe")
    (folder.out / "folder").mkdir()
    (folder.out / "empty").touch()
    (folder.out / "b\nc").write_bytes(b"1")
    (folder.out / os.fsdecode(b"\xff.csv")).write_bytes(b"1")
    assert look(folder, 0.0) == ([], {}, 7)
    regular = dict.fromkeys(("soft", "pipe", "folder"), "not_regular")
    others = {"hard": "several_links", "empty": "empty_file", "b\nc": "name_refused", "\udcff.csv": "name_refused"}
    assert look(folder, 10.0) == ([], regular | others, 0)
    for file, reason in folder.look(10.0).unsendable:
        assert folder.reject(file, reason, "2026-01-01T00:00:00Z")
    assert list(folder.out.iterdir()) == []
    assert (tmp_path / "secret").read_bytes() == b"of somebody else"
    assert (folder.failed / "soft").is_symlink()
    error = json.loads((folder.failed / "hard.error.json").read_text("utf-8"))
    assert (error["name"], error["code"], error["at"]) == ("hard", "several_links", "2026-01-01T00:00:00Z")
    assert json.loads((folder.failed / "\udcff.csv.error.json").read_text("utf-8"))["name"] == "\udcff.csv"


def test_a_file_that_took_the_place_of_one_that_was_sent_stays(folder):
    """Else it would lie in `sent` and nobody would ever have got it."""
    path = folder.out / "a.csv"
    path.write_bytes(b"1")
    sent = Identity.of(path)
    other = path.with_name("other")
    other.write_bytes(b"2")
    os.utime(other, ns=(sent.changed_ns, sent.changed_ns))
    other.replace(path)
    assert not folder.place("a.csv", sent, folder.sent / "a.csv")
    assert path.read_bytes() == b"2"
    assert list(folder.sent.iterdir()) == []


def test_a_move_is_repeated_and_replaces_nothing(folder):
    for count, content in enumerate((b"1", b"2", b"3")):
        path = folder.out / "a.csv"
        path.write_bytes(content)
        path.with_name("a.csv.ok").touch()
        target = folder.sent / ("a.csv" if count == 0 else f"a ({count + 1}).csv")
        identity = Identity.of(path)
        assert folder.place("a.csv", identity, target)
        assert folder.place("a.csv", identity, target), "the process ended before it could note the move"
        assert target.read_bytes() == content
    assert list(folder.out.iterdir()) == [], "a companion that stays would declare the next file complete"
    assert len(list(folder.sent.iterdir())) == 6


def test_a_name_as_long_as_can_be_has_its_reason_beside_it(folder):
    name = "é" * 125 + ".csv"
    os.mkfifo(folder.out / name)
    folder.look(0.0)
    ((file, reason),) = folder.look(10.0).unsendable
    assert folder.reject(file, reason, "2026-01-01T00:00:00Z")
    assert len(list(folder.failed.iterdir())) == 2


def test_folders_on_other_volumes_are_refused(tmp_path):
    """A move between volumes is a copy, which a power cut would leave half done; a link leads anywhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sent").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotConfigured, match="same volume"):
        WatchedFolder(tmp_path, settle_seconds=0)
