"""What a bucket does that a folder does not: nodes that share it, parts, listings of many, and settings of its own."""

import asyncio
import tracemalloc
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.crypto.token import new_id
from app.domain.finding import Level
from app.storage import s3_client, s3_search, s3_suspended
from app.storage.errors import BlobGone, BlobUnavailable
from app.storage.s3_bucket import last_net
from tests.integration.storage.blob_stories import CONTENT, fetch, run, store
from tests.integration.storage.s3_servers import bucket_of, two_nodes
from tests.marks import in_test_all

WEEK = timedelta(days=7)
MIB = 1 << 20
PART = 5 * MIB


@pytest.fixture
def nodes(object_store):
    return two_nodes(object_store)


@pytest.fixture
def small_parts(monkeypatch):
    """The smallest parts that servers take where another part follows."""
    monkeypatch.setattr(s3_suspended, "PART_BYTES", PART)


def pattern(length):
    return (bytes(index * 7 % 251 for index in range(251)) * (length // 251 + 1))[:length]


def test_another_node_continues_what_one_suspended(nodes, small_parts):
    """Bytes below the size of a part lie in an object between two requests; each request goes to the other node."""
    content = pattern(11 * MIB)
    cuts = [0, 10, PART, PART + 1, 2 * PART + 7, 2 * PART + 9, len(content)]

    async def story():
        blob_id = new_id()
        writer = await nodes[0].create(blob_id)
        for turn, (start, stop) in enumerate(pairwise(cuts), 1):
            await writer.write(content[start:stop])
            assert await writer.suspend() == stop
            assert {each.blob_id for each in nodes[1].listing()} == {blob_id}
            writer = await nodes[turn % 2].resume(blob_id, stop)
        await writer.commit()
        assert await fetch(nodes[0], blob_id) == content
        assert [each.complete for each in nodes[1].listing()] == [True], "no state is left"
        assert await nodes[1].delete([blob_id]) == {}
        assert list(nodes[0].listing()) == []

    run(story)


@pytest.mark.parametrize("object_store", [in_test_all("seaweedfs"), in_test_all("moto")], indirect=True)
def test_only_the_last_state_is_continued_unless_the_rest_may_be_dropped(nodes, small_parts):
    """A chunk that was encrypted once must not be encrypted again: a state counts only if nothing came behind it. On
    rclone, which takes no part twice, such an upload fails and begins again.
    """

    async def story():
        writer = await nodes[0].create(blob_id := new_id())
        await writer.write(pattern(100))
        size = await writer.suspend()
        died = await nodes[0].resume(blob_id, size)
        await died.write(pattern(PART))
        await asyncio.gather(*map(asyncio.wrap_future, died._sending))
        with pytest.raises(BlobGone):
            await nodes[1].resume(blob_id, size)
        continued = await nodes[1].resume(blob_id, size, drop_rest=True)
        await continued.write(b"the rest")
        await continued.commit()
        assert await fetch(nodes[0], blob_id) == pattern(100) + b"the rest"
        assert await nodes[0].delete([blob_id], force=True) == {}
        assert await nodes[1].present([blob_id]) == set()

    run(story)


def test_a_suspended_blob_that_another_node_deletes_leaves_nothing(nodes):
    async def story():
        writer = await nodes[0].create(blob_id := new_id())
        await writer.write(CONTENT)
        await writer.suspend()
        assert await nodes[1].present([blob_id]) == {blob_id}
        assert await nodes[1].delete([blob_id]) == {}
        with pytest.raises(BlobGone):
            await nodes[0].resume(blob_id, len(CONTENT), drop_rest=True)
        assert list(nodes[0].listing()) == []

    run(story)


def test_a_stream_of_another_node_ends_at_its_next_range(nodes, object_store):
    """No lock tells the deleting node of it: it does not wait, and the stream gets no more than two windows."""

    async def story():
        writer = await nodes[0].create(blob_id := new_id())
        content = pattern(24 * MIB)
        await writer.write(content)
        await writer.commit()
        reader = await nodes[0].open(blob_id)
        assert await nodes[1].delete([blob_id]) == {}
        received = bytearray()

        async def read_on():
            while len(received) < len(content):
                received.extend(await reader.read(len(received), MIB))

        with pytest.raises(BlobUnavailable):
            await read_on()
        reader.close()
        return len(received)

    assert run(story) <= 8 * MIB


def test_a_large_blob_streams_in_constant_memory(nodes):
    """Parts of 8 MiB: three of a writer's are in memory at once, and two windows of a reader's."""
    piece = pattern(1_574_400)

    async def story():
        writer = await nodes[0].create(blob_id := new_id())
        for _ in range(64):
            await writer.write(piece)
        await writer.commit()
        reader = await nodes[0].open(blob_id)
        for offset in range(0, reader.size, len(piece)):
            assert await reader.read(offset, len(piece)) == piece
        reader.close()
        assert reader.size == 64 * len(piece)

    run(lambda: store(nodes[0]))  # boto3's own memory is not this blob's
    tracemalloc.start()
    run(story)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 * MIB


def test_parts_grow_so_that_the_largest_transfer_fits():
    sizes = [s3_suspended.part_bytes(number) for number in range(1, s3_suspended.MOST_PARTS + 1)]
    assert len(sizes) <= 10_000
    assert sizes[0] == 8 * MIB
    assert sizes == sorted(sizes)
    assert sum(sizes) == s3_suspended.LARGEST_BLOB > 50 * 1024 * MIB


@pytest.mark.parametrize("worth", [1, 8, 1_000])
def test_many_blobs_are_found_and_deleted_by_walking_the_listing(nodes, monkeypatch, worth):
    """Each way to search finds the same: page by page, one by one, and a mixture of both."""
    monkeypatch.setattr(s3_search, "WORTH", worth)
    monkeypatch.setattr(s3_search, "SINGLY", 5)
    pages = nodes[0]._calls.objects
    monkeypatch.setattr(nodes[0]._calls, "objects", lambda prefix, **more: pages(prefix, **{"most": 7} | more))

    async def story():
        kept, gone = [[await store(nodes[1], b"x") for _ in range(count)] for count in (15, 20)]
        writer = await nodes[1].create(suspended := new_id())
        await writer.write(b"x")
        await writer.suspend()
        wanted = [*gone, suspended, new_id()]
        assert await nodes[0].present(wanted) == {*gone, suspended}
        assert {each.blob_id for each in nodes[0].listing()} == {*kept, *gone, suspended}
        assert await nodes[0].delete(wanted) == {}
        assert await nodes[0].present([*wanted, *kept]) == {*kept}

    run(story)


def test_other_objects_in_the_bucket_are_left_alone(nodes, object_store):
    client, place = object_store.client(), nodes[0]._calls.place
    others = [
        "readme",
        f"{place.blobs_prefix}readme",
        f"{place.prefix}/other/{new_id()}",
        f"{place.blobs_prefix}{'x' * 23}",
    ]
    for key in others:
        client.put_object(Bucket=object_store.bucket, Key=key, Body=b"x")

    async def story():
        assert await nodes[0].delete([await store(nodes[0])]) == {}

    run(story)
    assert list(nodes[0].listing()) == []
    for key in others:
        assert client.head_object(Bucket=object_store.bucket, Key=key)["ContentLength"] == 1
        client.delete_object(Bucket=object_store.bucket, Key=key)


def test_a_missing_bucket_is_no_new_store(object_store):
    store_ = bucket_of(object_store)
    object.__setattr__(store_._calls.place, "bucket", "no-such-bucket")
    for asked in (store_.installation, lambda: store_.adopt("installation-1")):
        with pytest.raises(BlobUnavailable, match="NoSuchBucket"):
            asked()


def test_without_boto3_the_error_names_the_extra(object_store, monkeypatch):
    s3_client._session.cache_clear()

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(s3_client, "import_module", missing)
    with pytest.raises(BlobUnavailable, match="extra s3"):
        bucket_of(object_store).installation()


def test_a_copy_of_the_bucket_is_recognised(nodes):
    blob_id = new_id()
    for known in (f"/copy/blobs/{blob_id}", f"/copy/pre/blobs/{blob_id}.1048576"):
        assert nodes[0].recognises(Path(known))
    for strange in (f"/copy/{blob_id}", f"/copy/blobs/{blob_id}.x", "/copy/blobs/hour.key", f"/copy/blobs/{blob_id}x"):
        assert not nodes[0].recognises(Path(strange))


# --- the bucket's settings


@pytest.fixture
def moto(s3_servers, credentials):
    return s3_servers.get("moto")


def settings_of(bucket):
    return [(found.level, found.check) for found in bucket.findings(WEEK)]


@pytest.mark.external
@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_a_versioned_bucket_is_refused(moto, status):
    """Lesson 6: a deletion in it leaves the bytes behind a marker."""
    bucket, client = bucket_of(moto), moto.client()
    bucket.adopt("installation-1")
    object.__setattr__(bucket._calls.place, "bucket", f"versioned-{status.lower()}")
    client.create_bucket(Bucket=bucket._calls.place.bucket)
    bucket.adopt("installation-1")
    blob_id = run(lambda: store(bucket))
    client.put_bucket_versioning(Bucket=bucket._calls.place.bucket, VersioningConfiguration={"Status": status})
    with pytest.raises(BlobUnavailable, match=f"versioning is {status.lower()}"):
        bucket.adopt("installation-1")
    assert (Level.WRONG, "bucket") in settings_of(bucket)
    if status == "Enabled":
        assert set(run(lambda: bucket.delete([blob_id]))) == {blob_id}
        with pytest.raises(BlobUnavailable, match="versions"):
            run(lambda: store(bucket))


@pytest.mark.external
def test_a_locked_bucket_is_refused(moto):
    bucket = bucket_of(moto)
    object.__setattr__(bucket._calls.place, "bucket", "locked")
    moto.client().create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    with pytest.raises(BlobUnavailable, match="object lock"):
        bucket.adopt("installation-1")


@pytest.mark.external
def test_the_lifecycle_rule_is_shown_checked_and_never_written(moto):
    bucket, client = bucket_of(moto), moto.client()
    place = bucket._calls.place
    object.__setattr__(place, "bucket", "with-rules")
    client.create_bucket(Bucket="with-rules")
    bucket.adopt("installation-1")

    def judged(rules):
        if rules is None:
            client.delete_bucket_lifecycle(Bucket="with-rules")
        else:
            client.put_bucket_lifecycle_configuration(Bucket="with-rules", LifecycleConfiguration=rules)
        (found,) = [each for each in bucket.findings(WEEK) if each.check == "bucket lifecycle"]
        return found

    assert judged(None).level is Level.WEAK
    assert '"Days": 8' in judged(None).do
    assert judged(last_net(place, WEEK)).level is Level.GOOD
    assert judged(last_net(place, timedelta(days=31))).level is Level.GOOD
    assert judged(last_net(place, timedelta(days=90))).level is Level.WEAK
    assert judged(last_net(place, timedelta(days=2))).level is Level.WRONG  # files vanish before their transfers end
    everything = last_net(place, WEEK)
    everything["Rules"][0]["Filter"]["Prefix"] = ""
    assert "installation" in judged(everything).detail
