"""Small files that survive a crash: whole or absent, first or refused."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.storage import durable_files
from app.storage.durable_files import opened_folder


def put(root, content):
    with opened_folder(root) as folder:
        return durable_files.put_once("file", content, within=folder)


@pytest.fixture
def folder(tmp_path):
    with opened_folder(tmp_path) as descriptor:
        yield descriptor


def test_of_many_writers_one_is_first(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        for attempt in range(10):
            root = tmp_path / str(attempt)
            root.mkdir()
            contents = [bytes([number]) * 32 for number in range(4)]
            first = list(pool.map(put, [root] * 4, contents))
            assert sum(first) == 1
            assert (root / "file").read_bytes() == contents[first.index(True)]
            assert [path.name for path in root.iterdir()] == ["file"]


def test_a_crash_before_the_link_leaves_only_a_temporary_file(folder, tmp_path, monkeypatch):
    def crash(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", crash)
    monkeypatch.setattr(os, "unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        durable_files.put_once("file", b"content", within=folder)
    monkeypatch.undo()
    assert not (tmp_path / "file").exists()
    assert durable_files.put_once("file", b"content", within=folder)


def test_a_new_file_that_cannot_be_synced_is_removed(folder, tmp_path, monkeypatch):
    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        durable_files.write_new("file", b"content", within=folder)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_written_over(folder, tmp_path):
    durable_files.write_new("file", b"first", within=folder)
    with pytest.raises(FileExistsError):
        durable_files.write_new("file", b"second", within=folder)
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_new_file_is_not_written_through_a_link(folder, tmp_path):
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        durable_files.write_new("file", b"content", within=folder)
    assert not (tmp_path / "elsewhere").exists()


def test_every_byte_of_any_buffer_is_written(folder, tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    durable_files.write_new("file", memoryview(b"0123456789abcdef").cast("I"), within=folder)
    assert (tmp_path / "file").read_bytes() == b"0123456789abcdef"


def test_a_file_longer_than_expected_is_refused(folder):
    durable_files.write_new("file", bytes(10), within=folder)
    assert durable_files.read_file("file", within=folder, max_bytes=10) == bytes(10)
    with pytest.raises(OSError, match="longer than 9 bytes"):
        durable_files.read_file("file", within=folder, max_bytes=9)


def test_a_linked_folder_is_refused_inside_a_store_only(folder, tmp_path):
    """Where the store lies is the administrator's choice; what is inside it is not followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with opened_folder(tmp_path / "link"):
        pass
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"), opened_folder("link", within=folder):
        pass


def test_removing_takes_files_links_and_empty_folders(folder, tmp_path):
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "empty").mkdir()
    assert durable_files.remove("link", within=folder)
    assert durable_files.remove("empty", within=folder)
    assert not durable_files.remove("absent", within=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_empty_installation_file_is_no_installation(folder, tmp_path):
    (tmp_path / "installation").write_bytes(b"\n")
    assert durable_files.read_installation(within=folder) is None
    assert durable_files.installation_problem(None, within=folder) is not None


def test_what_is_there_is_put_without_writing(tmp_path, folder, monkeypatch):
    """On a full or read-only volume an installation must still open: to lock down, to sweep, to look."""
    assert put(tmp_path, b"first")

    def full(*_given, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable_files, "write_new", full)
    assert not put(tmp_path, b"second")
    assert durable_files.read_file("file", within=folder, max_bytes=10) == b"first"
