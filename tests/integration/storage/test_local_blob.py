"""One blob on a local disk: whole or not at all, and read exactly."""

import asyncio
import errno
import fcntl
import os
import shutil
import stat
import threading

import pytest

from app.crypto.token import new_id
from app.storage import local_blob
from app.storage.errors import BlobGone, BlobUnavailable, DiskNearlyFull
from app.storage.local_disk import LocalDisk
from tests.integration.storage.blob_stories import CONTENT, fetch, files_below, run, store

# Writing


def test_a_committed_blob_reads_back(disk, blobs_root):
    async def story():
        blob_id = await store(disk)
        assert await fetch(disk, blob_id) == CONTENT
        assert await disk.exists(blob_id)
        assert files_below(blobs_root) == {f"{blob_id[:2]}/{blob_id}"}

    run(story)


def test_pieces_of_any_kind_are_appended(disk):
    async def story():
        writer = await disk.create(blob_id := new_id())
        for piece in (b"", b"one", memoryview(b"--two--")[2:5], memoryview(bytearray(70_000))):
            await writer.write(piece)
        await writer.commit()
        assert await fetch(disk, blob_id) == b"onetwo" + bytes(70_000)

    run(story)


def test_a_short_write_goes_on_where_it_stopped(disk, monkeypatch):
    async def story():
        writer = await disk.create(blob_id := new_id())
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:1000]))
        await writer.write(CONTENT)
        await writer.commit()
        assert await fetch(disk, blob_id) == CONTENT

    run(story)


def test_before_the_commit_there_is_nothing_to_read(disk, blobs_root):
    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        with pytest.raises(BlobGone):
            await disk.open(blob_id)
        assert await disk.exists(blob_id)
        assert files_below(blobs_root) == {f"incoming/{blob_id}"}
        await writer.abort()

    run(story)


def test_an_abort_leaves_nothing_and_may_come_twice(disk, blobs_root):
    """A transfer that breaks off leaves no bytes behind (every peer but nginx kept its partial file)."""

    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        await writer.abort()
        await writer.abort()
        assert not await disk.exists(blob_id)
        assert files_below(blobs_root) == set()
        for refused in (writer.write(b"more"), writer.commit()):
            with pytest.raises(BlobGone):
                await refused

    run(story)


def test_an_abort_after_the_commit_changes_nothing(disk):
    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        await writer.commit()
        await writer.abort()
        assert await fetch(disk, blob_id) == CONTENT
        with pytest.raises(BlobGone):
            await writer.commit()

    run(story)


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_an_abort_removes_what_a_cancelled_commit_still_moves_into_place(disk, blobs_root, monkeypatch, step):
    """The client left while its blob was being synced: the thread cannot be stopped, so the abort waits for it."""

    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        entered, go_on, went_through = threading.Event(), threading.Event(), threading.Event()
        original = getattr(os, step)

        def slow(*args, **kwargs):
            entered.set()
            go_on.wait(5)
            original(*args, **kwargs)
            went_through.set()

        monkeypatch.setattr(os, step, slow)
        committing = asyncio.create_task(writer.commit())
        await asyncio.to_thread(entered.wait, 5)
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
        asyncio.get_running_loop().call_later(0.02, go_on.set)
        await writer.abort()
        assert went_through.is_set()  # on a file that was still ours
        assert not await disk.exists(blob_id)
        assert files_below(blobs_root) == set()

    run(story)


def test_the_commit_syncs_the_bytes_then_both_folders(disk, blobs_root, monkeypatch):
    async def story():
        await store(disk)
        writer = await disk.create(blob_id := new_id())
        synced = []

        def note(descriptor):
            synced.append(os.path.relpath(os.path.realpath(f"/proc/self/fd/{descriptor}"), blobs_root))

        monkeypatch.setattr(os, "fsync", note)
        await writer.commit()
        assert synced[:3] == [f"incoming/{blob_id}", blob_id[:2], "incoming"]
        assert synced[3:] == ["."]  # the folder is new

    run(story)


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_commit_that_fails_leaves_nothing(disk, blobs_root, monkeypatch, step):
    async def story():
        await store(disk)
        before = files_below(blobs_root)
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)

        def fail(*_args, **_kwargs):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, step, fail)
        with pytest.raises(BlobUnavailable, match="Input/output error"):
            await writer.commit()
        assert not await disk.exists(blob_id)
        assert files_below(blobs_root) == before

    run(story)


@pytest.mark.parametrize(
    ("number", "refusal"),
    [(errno.ENOSPC, DiskNearlyFull), (errno.EDQUOT, DiskNearlyFull), (errno.EIO, BlobUnavailable)],
)
def test_a_write_that_fails_leaves_nothing(disk, blobs_root, monkeypatch, number, refusal):
    async def story():
        writer = await disk.create(new_id())
        await writer.write(CONTENT)

        def fail(_descriptor, _data):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(refusal):
            await writer.write(CONTENT)
        assert files_below(blobs_root) == set()

    run(story)


def test_an_id_is_taken_once(disk, blobs_root):
    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        for _ in ("while it is written", "once it is complete"):
            with pytest.raises(BlobUnavailable, match="exists"):
                await disk.create(blob_id)
            if files_below(blobs_root) == {f"incoming/{blob_id}"}:
                await writer.commit()
        assert await fetch(disk, blob_id) == CONTENT
        assert files_below(blobs_root) == {f"{blob_id[:2]}/{blob_id}"}

    run(story)


def test_modes_are_private(disk, blobs_root):
    async def story():
        old = os.umask(0)
        try:
            await store(disk)
            await disk.create(new_id())
        finally:
            os.umask(old)
        for path in (blobs_root, *blobs_root.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)

    run(story)


# Free space


def test_a_nearly_full_disk_takes_no_new_blob(blobs_root):
    async def story():
        disk = LocalDisk(blobs_root, min_free_bytes=1 << 60)
        disk.adopt("installation-1")
        with pytest.raises(DiskNearlyFull):
            await disk.create(new_id())
        assert files_below(blobs_root) == set()

    run(story)


def test_a_disk_that_fills_up_meanwhile_stops_the_writer(blobs_root, monkeypatch):
    monkeypatch.setattr(local_blob, "SPACE_CHECK_BYTES", 100_000)

    async def story():
        disk = LocalDisk(blobs_root, min_free_bytes=1 << 40)
        disk.adopt("installation-1")
        free = [(1 << 40) + 1]
        monkeypatch.setattr("app.storage.durable_files.free_bytes", lambda *, within: free[0])
        writer = await disk.create(new_id())
        await writer.write(bytes(150_000))
        free[0] = 1 << 39
        await writer.write(bytes(50_000))
        with pytest.raises(DiskNearlyFull):
            await writer.write(bytes(50_000))
        assert files_below(blobs_root) == set()

    run(story)


def test_free_bytes_are_those_of_the_volume(disk, blobs_root):
    assert abs(disk.free_bytes() - shutil.disk_usage(blobs_root).free) < 1 << 30


# Reading


def test_any_range_reads_exactly(disk):
    async def story():
        reader = await disk.open(await store(disk))
        assert reader.size == len(CONTENT)
        for offset, length in ((0, 1), (len(CONTENT) - 1, 1), (300, 5000), (7, 0), (0, len(CONTENT))):
            assert await reader.read(offset, length) == CONTENT[offset : offset + length]
        reader.close()

    run(story)


def test_a_short_read_goes_on_where_it_stopped(disk, monkeypatch):
    async def story():
        reader = await disk.open(await store(disk))
        pread = os.pread
        monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 999), offset))
        assert await reader.read(5, 9000) == CONTENT[5:9005]
        reader.close()

    run(story)


def test_a_blob_cut_short_is_unavailable_not_shorter(disk, blobs_root):
    async def story():
        blob_id = await store(disk)
        reader = await disk.open(blob_id)
        os.truncate(blobs_root / blob_id[:2] / blob_id, 5000)
        assert await reader.read(0, 5000) == CONTENT[:5000]
        with pytest.raises(BlobUnavailable, match="ends before byte"):
            await reader.read(0, 5001)
        with pytest.raises(ValueError, match="negative"):
            await reader.read(-1, 5)
        reader.close()

    run(story)


def test_a_closed_reader_reads_nothing(disk):
    async def story():
        reader = await disk.open(await store(disk))
        reader.close()
        reader.close()
        with pytest.raises(BlobUnavailable):
            await reader.read(0, 1)

    run(story)


def test_what_is_not_there_is_gone(disk):
    async def story():
        await store(disk)
        with pytest.raises(BlobGone):
            await disk.open(new_id())
        assert not await disk.exists(new_id())

    run(story)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_planted_in_place_of_a_blob_is_not_read(disk, blobs_root, tmp_path, kind):
    async def story():
        blob_id = await store(disk)
        path = blobs_root / blob_id[:2] / blob_id
        path.unlink()
        secret = tmp_path / "secret"
        secret.write_bytes(b"secret")
        {"link": lambda: path.symlink_to(secret), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
        with pytest.raises(BlobUnavailable):
            await disk.open(blob_id)
        assert await disk.delete([blob_id]) == {}
        assert not await disk.exists(blob_id)
        assert secret.read_bytes() == b"secret"

    run(story)


@pytest.mark.parametrize("deleted", ["already unlinked", "about to be"])
def test_a_reader_that_meets_a_deletion_gets_nothing(disk, blobs_root, monkeypatch, deleted):
    """Between finding the file and locking it: a deletion has its lock, or has taken the name."""

    async def story():
        blob_id = await store(disk)
        path = blobs_root / blob_id[:2] / blob_id
        deleter = os.open(path, os.O_RDONLY)
        flock = fcntl.flock

        def meanwhile(descriptor, operation):
            if deleted == "already unlinked":
                path.unlink()
            else:
                flock(deleter, fcntl.LOCK_EX)
            flock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", meanwhile)
        with pytest.raises(BlobGone, match="deleted"):
            await disk.open(blob_id)
        os.close(deleter)

    run(story)
