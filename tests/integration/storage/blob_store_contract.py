"""What every blob store does, whatever it is made of: an implementation's tests inherit from this."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.crypto.token import new_id
from app.storage.blob_store import BlobStore
from app.storage.errors import BlobBusy, BlobGone, BlobUnavailable, DiskNearlyFull
from tests.integration.storage.blob_stories import CONTENT, fetch, run, store

INSTALLATION = "installation-1"


class BlobStoreContract:
    """Inherit, and provide `empty`: a store that nobody adopted yet, and `full`: one that takes nothing more."""

    @pytest.fixture
    def blobs(self, empty: BlobStore) -> BlobStore:
        empty.adopt(INSTALLATION)
        return empty

    def test_it_is_a_blob_store(self, blobs):
        checked: BlobStore = blobs
        assert checked.installation() == INSTALLATION

    def test_a_committed_blob_reads_back(self, blobs):
        assert run(lambda: _round_trip(blobs, CONTENT)) == CONTENT
        assert run(lambda: _round_trip(blobs, b"")) == b""

    def test_any_range_reads_exactly_and_no_further(self, blobs):
        async def story():
            reader = await blobs.open(await store(blobs))
            ranges = [(0, 1), (7, 100), (len(CONTENT) - 1, 1), (len(CONTENT), 0)]
            read = [bytes(await reader.read(*each)) for each in ranges]
            with pytest.raises(BlobUnavailable):
                await reader.read(len(CONTENT) - 1, 2)
            with pytest.raises(ValueError, match="negative"):
                await reader.read(-1, 1)
            reader.close()
            reader.close()
            with pytest.raises(BlobUnavailable):
                await reader.read(0, 1)
            return reader.size, [CONTENT[offset : offset + length] for offset, length in ranges] == read

        assert run(story) == (len(CONTENT), True)

    def test_before_the_commit_there_is_nothing_to_read(self, blobs):
        async def story():
            writer = await blobs.create(blob_id := new_id())
            await writer.write(memoryview(CONTENT))
            with pytest.raises(BlobGone):
                await blobs.open(blob_id)
            assert await blobs.exists(blob_id)
            assert [(each.blob_id, each.complete) for each in blobs.listing()] == [(blob_id, False)]
            await writer.commit()
            assert await fetch(blobs, blob_id) == CONTENT

        run(story)

    def test_an_abort_leaves_nothing_and_may_come_twice(self, blobs):
        async def story():
            writer = await blobs.create(blob_id := new_id())
            await writer.write(CONTENT)
            await writer.abort()
            await writer.abort()
            assert not await blobs.exists(blob_id)
            for refused in (writer.write(b"x"), writer.commit()):
                with pytest.raises(BlobGone):
                    await refused

        run(story)

    def test_an_abort_after_the_commit_changes_nothing(self, blobs):
        async def story():
            writer = await blobs.create(blob_id := new_id())
            await writer.commit()
            await writer.abort()
            assert await fetch(blobs, blob_id) == b""

        run(story)

    def test_an_abort_after_a_cancelled_commit_leaves_nothing(self, blobs):
        async def story():
            writer = await blobs.create(blob_id := new_id())
            await writer.write(CONTENT)
            committing = asyncio.create_task(writer.commit())
            await asyncio.sleep(0)
            cancelled = committing.cancel()  # False: it had returned
            await asyncio.wait([committing])
            await writer.abort()
            assert await blobs.exists(blob_id) is not cancelled

        run(story)

    def test_a_suspended_blob_continues_where_it_was_left(self, blobs):
        async def story():
            writer = await blobs.create(blob_id := new_id())
            await writer.write(CONTENT)
            with pytest.raises(BlobBusy):
                await blobs.resume(blob_id, 0)
            size = await writer.suspend()
            await writer.abort()  # as in a `finally`
            with pytest.raises(BlobGone):
                await writer.write(b"x")
            with pytest.raises(BlobGone):
                await blobs.open(blob_id)
            for wrong in (size - 1, size + 1):
                with pytest.raises(BlobGone):
                    await blobs.resume(blob_id, wrong)
            dropped = await blobs.resume(blob_id, size)
            await dropped.write(b"dropped")
            await dropped.suspend()
            again = await blobs.resume(blob_id, size, drop_rest=True)
            await again.write(b"the rest")
            await again.commit()
            return size, await fetch(blobs, blob_id)

        assert run(story) == (len(CONTENT), CONTENT + b"the rest")

    def test_only_an_unfinished_blob_can_be_resumed(self, blobs):
        async def story():
            writer = await blobs.create(deleted := new_id())
            await blobs.delete([deleted], force=True)
            with pytest.raises(BlobGone):
                await writer.suspend()
            for none in (await store(blobs), deleted, new_id()):
                with pytest.raises(BlobGone):
                    await blobs.resume(none, 0)

        run(story)

    def test_an_id_is_taken_once(self, blobs):
        async def story():
            committed = await store(blobs)
            writer = await blobs.create(being_written := new_id())
            for taken in (committed, being_written):
                with pytest.raises(BlobUnavailable):
                    await blobs.create(taken)
            await writer.abort()
            assert await fetch(blobs, committed) == CONTENT

        run(story)

    def test_what_is_deleted_is_gone_and_deleting_again_is_fine(self, blobs):
        async def story():
            gone, kept = [await store(blobs), await store(blobs)], await store(blobs)
            for _ in range(2):
                assert await blobs.delete([*gone, new_id()]) == {}
            assert await blobs.present([*gone, kept]) == {kept}
            with pytest.raises(BlobGone):
                await blobs.open(gone[0])
            assert await blobs.delete([]) == {}

        run(story)

    def test_a_reader_keeps_its_blob_busy_unless_force_is_used(self, blobs):
        async def story():
            free, read, forced = [await store(blobs) for _ in range(3)]
            readers = [await blobs.open(each) for each in (read, forced)]
            failures = await blobs.delete([free, read])
            assert {blob_id: type(failure) for blob_id, failure in failures.items()} == {read: BlobBusy}
            assert await blobs.delete([forced], force=True) == {}
            assert await blobs.present([free, read, forced]) == {read}
            for reader in readers:
                reader.close()
            assert await blobs.delete([read]) == {}

        run(story)

    def test_a_blob_deleted_under_its_writer_cannot_be_committed(self, blobs):
        async def story():
            writer = await blobs.create(blob_id := new_id())
            await writer.write(CONTENT)
            assert set(await blobs.delete([blob_id])) == {blob_id}
            assert await blobs.delete([blob_id], force=True) == {}
            with pytest.raises(BlobGone):
                await writer.commit()
            assert not await blobs.exists(blob_id)

        run(story)

    def test_the_listing_tells_size_and_age(self, blobs):
        blob_id = run(lambda: store(blobs))
        (found,) = blobs.listing()
        assert (found.blob_id, found.size, found.complete) == (blob_id, len(CONTENT), True)
        assert abs(datetime.now(UTC) - found.last_write_at) < timedelta(minutes=1)

    @pytest.mark.parametrize("bad", ["", "x", "../etc/passwd", "A" * 21 + "/", "A" * 23])
    def test_ids_that_are_none_are_refused_before_anything_is_touched(self, blobs, bad):
        async def story():
            kept = await store(blobs)
            for refused in (blobs.create(bad), blobs.open(bad), blobs.delete([kept, bad]), blobs.exists(bad)):
                with pytest.raises(ValueError, match="id"):
                    await refused
            assert await blobs.exists(kept)

        run(story)

    def test_nearly_full_takes_nothing_more(self, full):
        full.adopt(INSTALLATION)
        with pytest.raises(DiskNearlyFull):
            run(lambda: full.create(new_id()))
        assert full.free_bytes() != 0
        assert list(full.listing()) == []

    def test_a_store_that_nobody_adopted_holds_and_takes_nothing(self, empty):
        assert empty.installation() is None
        for refused in (lambda: empty.create(new_id()), lambda: empty.exists(new_id())):
            with pytest.raises(BlobUnavailable):
                run(refused)
        with pytest.raises(BlobUnavailable):
            list(empty.listing())

    def test_its_place_has_a_name(self, blobs):
        assert blobs.place().name

    def test_it_belongs_to_one_installation(self, blobs):
        blobs.adopt(INSTALLATION)
        with pytest.raises(BlobUnavailable):
            blobs.adopt("installation-2")
        assert blobs.installation() == INSTALLATION


async def _round_trip(blobs, content):
    return await fetch(blobs, await store(blobs, content))
