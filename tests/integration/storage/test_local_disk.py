"""The blob store on a local disk: gone when it says so, and never under a path that a user chose."""

import asyncio
import errno
import os
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.crypto.token import new_id
from app.storage import durable_files
from app.storage.blob_store import BlobReader, BlobStore, BlobWriter
from app.storage.errors import BlobBusy, BlobGone, BlobUnavailable, StorageError
from app.storage.local_disk import LocalDisk
from tests.integration.storage.blob_stories import CONTENT, fetch, files_below, run, store

BAD_IDS = [
    "",
    "..",
    "../../../etc/passwd",
    "incoming",
    "A" * 21,
    "A" * 23,
    "../" + "A" * 19,
    "A" * 21 + "/",
    "A" * 21 + "\0",
]


def test_it_is_a_blob_store(disk):
    async def story():
        store_: BlobStore = disk
        writer: BlobWriter = await store_.create(blob_id := new_id())
        await writer.commit()
        reader: BlobReader = await store_.open(blob_id)
        assert reader.size == 0
        reader.close()

    run(story)


# Deleting


def test_a_deleted_blob_is_gone_and_deleting_again_is_fine(disk, blobs_root):
    async def story():
        blob_id = await store(disk)
        assert await disk.delete([blob_id]) == {}
        assert await disk.delete([blob_id, new_id()]) == {}
        assert await disk.delete([]) == {}
        assert not await disk.exists(blob_id)
        with pytest.raises(BlobGone):
            await disk.open(blob_id)
        assert files_below(blobs_root) == set()

    run(story)


def test_a_reader_keeps_its_blob_busy_until_it_closes(disk):
    """`verified` waits for this node's own streams to have stopped."""

    async def story():
        blob_id, other = await store(disk), await store(disk)
        one, two = await disk.open(blob_id), await disk.open(blob_id)
        for reader in (one, two):
            failures = await disk.delete([blob_id, other])
            assert list(failures) == [blob_id]
            assert isinstance(failures[blob_id], BlobBusy)
            assert await reader.read(0, 10) == CONTENT[:10]
            reader.close()
        assert not await disk.exists(other)
        assert await disk.delete([blob_id]) == {}
        assert not await disk.exists(blob_id)

    run(story)


def test_force_deletes_under_a_reader(disk):
    async def story():
        blob_id = await store(disk)
        reader = await disk.open(blob_id)
        assert await disk.delete([blob_id], force=True) == {}
        assert not await disk.exists(blob_id)
        with pytest.raises(BlobGone):
            await disk.open(blob_id)
        reader.close()

    run(story)


def test_a_blob_being_written_is_busy(disk):
    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        assert isinstance((await disk.delete([blob_id]))[blob_id], BlobBusy)
        await writer.commit()
        assert await fetch(disk, blob_id) == CONTENT

    run(story)


def test_force_deletes_under_a_writer_which_then_cannot_commit(disk, blobs_root):
    async def story():
        writer = await disk.create(blob_id := new_id())
        await writer.write(CONTENT)
        assert await disk.delete([blob_id], force=True) == {}
        await writer.write(CONTENT)
        with pytest.raises(BlobGone, match="deleted while"):
            await writer.commit()
        assert files_below(blobs_root) == set()

    run(story)


def test_a_crashed_writers_leftover_is_deleted_without_force(disk, blobs_root):
    async def story():
        blob_id = new_id()
        (blobs_root / "incoming" / blob_id).write_bytes(CONTENT)
        assert await disk.exists(blob_id)
        assert await disk.delete([blob_id]) == {}
        assert files_below(blobs_root) == set()

    run(story)


@pytest.mark.parametrize("committed", [False, True])
def test_a_stream_that_nobody_ended_gives_up_its_lock(disk, committed):
    async def story():
        blob_id = await store(disk) if committed else new_id()
        stream = await (disk.open(blob_id) if committed else disk.create(blob_id))
        assert blob_id in await disk.delete([blob_id])
        del stream
        assert await disk.delete([blob_id]) == {}

    run(story)


def test_deleting_while_it_is_committed_leaves_all_or_nothing(disk, blobs_root):
    async def story():
        for _ in range(30):
            writer = await disk.create(blob_id := new_id())
            await writer.write(CONTENT)
            committing = asyncio.create_task(writer.commit())
            assert await disk.delete([blob_id], force=True) == {}
            await asyncio.wait([committing])
            assert committing.exception() is None or isinstance(committing.exception(), BlobGone)
            # Deleted after the commit, or before it: in no order does the blob survive a deletion that succeeded.
            assert not await disk.exists(blob_id)
        assert files_below(blobs_root) == set()

    run(story)


def test_a_blob_that_moves_between_the_two_looks_of_a_deletion_does_not_survive(disk, blobs_root, monkeypatch):
    async def story():
        writer = await disk.create(blob_id := new_id())
        final = blobs_root / blob_id[:2] / blob_id
        final.parent.mkdir()
        remove = durable_files.remove

        def remove_then_move(name, *, within):
            remove(name, within=within)
            with suppress(FileNotFoundError):
                (blobs_root / "incoming" / blob_id).rename(final)

        monkeypatch.setattr(durable_files, "remove", remove_then_move)
        assert await disk.delete([blob_id], force=True) == {}
        assert not await disk.exists(blob_id)
        await writer.abort()

    run(story)


def test_one_blob_that_resists_stops_no_other(disk, blobs_root):
    async def story():
        ids = [await store(disk, b"x") for _ in range(20)]
        stubborn = blobs_root / ids[0][:2] / ids[0]
        stubborn.unlink()
        (stubborn / "inside").mkdir(parents=True)
        for force in (False, True):
            failures = await disk.delete(ids, force=force)
            assert list(failures) == ids[:1]
            assert isinstance(failures[ids[0]], BlobUnavailable)
        assert [await disk.exists(blob_id) for blob_id in ids] == [True] + [False] * 19

    run(story)


def test_a_folder_that_cannot_be_synced_fails_its_blobs_only(disk, blobs_root, monkeypatch):
    async def story():
        ids = [await store(disk, b"x") for _ in range(10)]
        failing = (blobs_root / ids[0][:2]).stat()
        fsync = os.fsync

        def fail(descriptor):
            if os.path.samestat(os.fstat(descriptor), failing):
                raise OSError(errno.EIO, "Input/output error")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)
        failures = await disk.delete(ids)
        assert set(failures) == {blob_id for blob_id in ids if blob_id[:2] == ids[0][:2]}

    run(story)


def test_many_are_deleted_with_one_sync_per_folder(disk, monkeypatch):
    async def story():
        ids = ["AA" + new_id()[2:] for _ in range(100)] + ["BB" + new_id()[2:] for _ in range(100)]
        for blob_id in ids:
            await (await disk.create(blob_id)).commit()
        syncs: list[int] = []
        monkeypatch.setattr(os, "fsync", syncs.append)
        assert await disk.delete(ids) == {}
        assert len(syncs) == 3

    run(story)


def test_deleting_does_not_hold_up_the_event_loop(disk, monkeypatch):
    async def story():
        blob_id = await store(disk)
        monkeypatch.setattr(os, "fsync", lambda _descriptor: time.sleep(0.1))
        ticks = 0
        deleting = asyncio.create_task(disk.delete([blob_id]))
        while not deleting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert await deleting == {}
        assert ticks > 5

    run(story)


@pytest.mark.parametrize("bad", BAD_IDS)
def test_ids_that_are_none_are_refused(disk, blobs_root, bad):
    """The stored path is a function of the server's random id alone; `../` is none (CrushFTP CVE-2024-4040)."""

    async def story():
        good = await store(disk)
        for call in (disk.create(bad), disk.open(bad), disk.exists(bad), disk.delete([good, bad], force=True)):
            with pytest.raises(ValueError, match="named by an id"):
                await call
        assert files_below(blobs_root) == {f"{good[:2]}/{good}"}

    run(story)


# Listing


def test_the_listing_says_what_is_stored(disk, blobs_root):
    async def story():
        complete = await store(disk)
        writer = await disk.create(incoming := new_id())
        await writer.write(b"12345")
        found = {blob.blob_id: blob for blob in disk.listing()}
        assert set(found) == {complete, incoming}
        assert (found[complete].size, found[complete].complete) == (len(CONTENT), True)
        assert (found[incoming].size, found[incoming].complete) == (5, False)
        for blob in found.values():
            assert abs(blob.last_write_at - datetime.now(UTC)) < timedelta(minutes=1)
        await writer.abort()

    run(story)


def test_the_listing_passes_over_what_is_no_blob(disk, blobs_root):
    async def story():
        blob_id = await store(disk)
        shutil.copy(blobs_root / blob_id[:2] / blob_id, blobs_root / "incoming" / "notes.txt")
        elsewhere = blobs_root / ("AA" if blob_id[:2] != "AA" else "BB")
        elsewhere.mkdir()
        (elsewhere / blob_id).touch()
        (blobs_root / "lost+found").mkdir()
        assert [blob.blob_id for blob in disk.listing()] == [blob_id]

    run(story)


def test_a_blob_committed_during_the_listing_is_not_missed(disk):
    async def story():
        writers = {blob_id: await disk.create(blob_id) for blob_id in [new_id() for _ in range(20)]}
        listing = disk.listing()
        seen = {next(listing).blob_id}
        for writer in writers.values():
            await writer.commit()
        assert seen | {blob.blob_id for blob in listing} == set(writers)

    run(story)


def test_two_hundred_blobs_are_listed(disk):
    async def story():
        ids = {await store(disk, b"x") for _ in range(200)}
        assert {blob.blob_id for blob in disk.listing()} == ids

    run(story)


# The right store, or none


@pytest.mark.parametrize("mount_point_stays", [False, True])
def test_an_unmounted_store_answers_nothing_and_is_not_made_again(disk, blobs_root, mount_point_stays):
    """An empty mount point must never read as "all blobs are deleted"."""

    async def story():
        blob_id, busy = await store(disk), await store(disk)
        reader, writer = await disk.open(busy), await disk.create(new_id())
        blobs_root.rename(blobs_root.with_name("unmounted"))
        if mount_point_stays:
            blobs_root.mkdir()
        for call in (disk.create(new_id()), disk.open(blob_id), disk.exists(blob_id), writer.commit()):
            with pytest.raises(BlobUnavailable):
                await call
        with pytest.raises(BlobUnavailable):
            list(disk.listing())
        failures = await disk.delete([blob_id, busy], force=True)
        assert set(failures) == {blob_id, busy}
        assert all(isinstance(failure, BlobUnavailable) for failure in failures.values())
        reader.close()
        assert blobs_root.exists() == mount_point_stays
        assert not mount_point_stays or list(blobs_root.iterdir()) == []

    run(story)


def test_the_store_of_another_installation_is_refused(disk, blobs_root):
    async def story():
        blob_id = await store(disk)
        (blobs_root / "installation").write_text("installation-2\n")
        for call in (disk.create(new_id()), disk.open(blob_id), disk.exists(blob_id)):
            with pytest.raises(BlobUnavailable, match="another installation"):
                await call
        with pytest.raises(BlobUnavailable, match="another installation"):
            LocalDisk(blobs_root, min_free_bytes=0).adopt("installation-1")

    run(story)


def test_adopting_makes_the_store_once(blobs_root):
    disk = LocalDisk(blobs_root / "below", min_free_bytes=0)
    assert disk.installation() is None
    disk.adopt("installation-1")
    disk.adopt("installation-1")
    assert disk.installation() == "installation-1"
    assert LocalDisk(blobs_root / "below", min_free_bytes=0).installation() == "installation-1"
    with pytest.raises(BlobUnavailable):
        LocalDisk(blobs_root / "gone", min_free_bytes=0, installation_id="installation-1").installation()


def test_a_store_that_lost_and_regained_a_folder_goes_on(disk, blobs_root):
    """Another volume, or a restored one, may be mounted under a running service."""

    async def story():
        blob_id = await store(disk)
        await disk.delete([blob_id])
        (blobs_root / blob_id[:2]).rmdir()
        again = blob_id[:2] + new_id()[2:]
        writer = await disk.create(again)
        await writer.commit()
        assert await disk.exists(again)

    run(story)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(disk):
    async def story():
        blob_id = await store(disk)
        before = open_files()
        for _ in range(5):
            await disk.delete([await store(disk), new_id()])
            await fetch(disk, blob_id)
            await (await disk.create(new_id())).abort()
            list(disk.listing())
            for refused in (disk.open(new_id()), disk.create(blob_id)):
                with pytest.raises(StorageError):
                    await refused
        assert open_files() == before

    run(story)
