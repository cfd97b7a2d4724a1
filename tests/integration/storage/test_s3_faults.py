"""A bucket whose server is down, slow, full, or lies: a clear error, nothing acknowledged that is not there, and
nothing called gone that may be there. Aborting a leftover upload can destroy a finished object (SeaweedFS #10663).
"""

import asyncio
import threading
from dataclasses import replace

import pytest

from app.crypto.token import new_id
from app.storage import s3_client
from app.storage.errors import BlobGone, BlobUnavailable, DiskNearlyFull
from tests.integration.storage.blob_stories import CONTENT, fetch, run, store
from tests.integration.storage.s3_servers import bucket_of, two_nodes
from tests.marks import in_test_all

LONG = bytes(range(256)) * 4096 * 9
"""Nine MiB: two parts."""


@pytest.fixture
def object_store(s3_servers, credentials):
    """The faults lie in the proxy, so one server stands for all."""
    return s3_servers.get("rclone")


@pytest.fixture
def blobs(object_store, faults, monkeypatch):
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)  # a refusal that stays would be repeated for seconds
    blobs = bucket_of(object_store, faults.endpoint)
    blobs.adopt("installation-1")
    return blobs


def header(name, value):
    return lambda answer: replace(answer, headers={**answer.headers, name: value})


REFUSALS = {
    "down": (503, "ServiceUnavailable"),
    "error": (500, "InternalError"),
    "credentials expired": (400, "ExpiredToken"),
    "credentials wrong": (403, "SignatureDoesNotMatch"),
    "bucket gone": (404, "NoSuchBucket"),
    "a success with an error in it": (200, "InternalError"),
}


@pytest.mark.parametrize("refusal", ["down", *map(in_test_all, [*REFUSALS][1:])])
def test_a_deposit_that_the_server_refuses_to_complete_is_not_acknowledged(blobs, faults, refusal):
    status, code = REFUSALS[refusal]

    async def story():
        writer = await blobs.create(blob_id := new_id())
        await writer.write(LONG)
        faults.refuse("POST", "uploadId=", status=status, code=code)
        with pytest.raises(BlobUnavailable, match=code if status != 200 else "complete") as raised:
            await writer.commit()
        faults.clear()
        assert "SEKRET" not in repr(raised.value)
        assert not await blobs.exists(blob_id)

    run(story)


@pytest.mark.parametrize("refusal", ["bucket gone", in_test_all("down"), in_test_all("credentials expired")])
def test_nothing_counts_as_gone_while_the_server_cannot_be_asked(blobs, faults, refusal):
    async def story():
        kept = await store(blobs)
        for method in ("POST", "GET", "HEAD", "DELETE"):
            faults.refuse(method, "", status=REFUSALS[refusal][0], code=REFUSALS[refusal][1])
        assert set(await blobs.delete([kept])) == {kept}
        for asked in (blobs.present([kept]), blobs.exists(kept), blobs.open(kept), blobs.create(new_id())):
            with pytest.raises(BlobUnavailable):
                await asked
        with pytest.raises(BlobUnavailable):
            list(blobs.listing())
        faults.clear()
        assert await fetch(blobs, kept) == CONTENT

    run(story)


@pytest.mark.parametrize("times", [1, 2])
def test_a_completion_whose_answer_is_lost_is_looked_up_and_never_aborted(blobs, faults, times):
    async def story():
        writer = await blobs.create(blob_id := new_id())
        await writer.write(LONG)
        faults.lose("POST", "uploadId=", times=times)  # 2: the repetition's answer, too
        await writer.commit()
        assert not [each for each in faults.seen if each.startswith("DELETE")]
        assert await fetch(blobs, blob_id) == LONG

    run(story)


def test_a_part_that_fails_once_is_sent_again(blobs, faults):
    async def story():
        writer = await blobs.create(blob_id := new_id())
        faults.refuse("PUT", "partNumber=1", status=503, code="SlowDown", times=1)
        await writer.write(LONG)
        await writer.commit()
        assert await fetch(blobs, blob_id) == LONG

    run(story)


@pytest.mark.parametrize(
    ("method", "part", "change"),
    [
        pytest.param("PUT", "partNumber=", header("ETag", f'"{"0" * 32}"'), id="the ETag of other bytes"),
        pytest.param("HEAD", "", header("Content-Length", "7"), id="another length"),
        pytest.param("POST", "uploadId=", header("x-amz-version-id", "3"), id="a version that outlives the deletion"),
    ],
)
def test_a_deposit_about_which_the_server_lies_is_refused_and_removed(blobs, faults, method, part, change):
    async def story():
        writer = await blobs.create(blob_id := new_id())
        faults.change(method, part, change)
        with pytest.raises(BlobUnavailable):
            await _write_and_commit(writer)
        faults.clear()
        assert not await blobs.exists(blob_id)

    run(story)


def whole(answer):
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
    return replace(answer, status=200, headers=headers)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda answer: replace(answer, body=answer.body[:-1]), id="cut short"),
        pytest.param(whole, id="no range"),
        pytest.param(header("Content-Range", "bytes 1-9/10"), id="another range"),
    ],
)
def test_bytes_that_are_not_those_asked_for_are_refused(blobs, faults, change):
    async def story():
        reader = await blobs.open(await store(blobs, LONG))
        faults.change("GET", "", change)
        with pytest.raises(BlobUnavailable):
            await reader.read(1 << 20, 1 << 20)

    run(story)


def test_a_listing_that_still_shows_the_object_means_that_it_is_not_gone(blobs, faults):
    async def story():
        blob_id = await store(blobs)
        stale = []

        def lag(answer):
            stale.append(answer)
            return stale[0]

        await blobs.present([blob_id])
        faults.change("GET", "list-type=2", lag)
        assert await blobs.present([blob_id]) == {blob_id}
        assert set(await blobs.delete([blob_id])) == {blob_id}
        faults.clear()
        assert await blobs.delete([blob_id]) == {}

    run(story)


def test_a_listing_that_does_not_show_an_object_yet_does_not_make_it_lost(blobs, faults):
    async def story():
        blob_id = await store(blobs)
        none = b"<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        faults.change("GET", "list-type=2", lambda answer: replace(answer, body=none, headers={}))
        assert await blobs.exists(blob_id)

    run(story)


def test_a_server_that_hangs_does_not_stop_the_event_loop(blobs, faults):
    async def story():
        go_on = threading.Event()
        faults.wait("PUT", "partNumber=", go_on)
        writer = await blobs.create(blob_id := new_id())
        await writer.write(LONG)
        committing = asyncio.create_task(writer.commit())
        await asyncio.sleep(0.1)
        assert not committing.done()
        go_on.set()
        await committing
        assert await fetch(blobs, blob_id) == LONG

    run(story)


def test_a_deletion_by_another_node_revokes_a_writer(object_store):
    """The other node's lease has expired, say, while this one was paused: it may not complete what was deleted."""

    async def story():
        here, elsewhere = two_nodes(object_store)
        writer = await here.create(blob_id := new_id())
        await writer.write(LONG)
        assert await elsewhere.delete([blob_id]) == {}
        with pytest.raises((BlobGone, BlobUnavailable)):  # the latter if the server breaks off the body of a part
            await writer.commit()
        assert not await elsewhere.exists(blob_id)

    run(story)


def test_a_bucket_that_is_full_says_so(blobs, faults):
    async def story():
        writer = await blobs.create(new_id())
        faults.refuse("PUT", "partNumber=", status=507, code="XMinioStorageFull")
        with pytest.raises(DiskNearlyFull):
            await _write_and_commit(writer)

    run(story)


def test_a_bucket_that_was_made_anew_proves_no_deletion(blobs, object_store):
    """As an unmounted volume does not: absence counts only beside the mark of the installation."""

    async def story():
        kept = await store(blobs)
        object_store.client().delete_object(Bucket=object_store.bucket, Key=blobs._calls.place.installation_key)
        assert set(await blobs.delete([kept])) == {kept}
        with pytest.raises(BlobUnavailable, match="mark is missing"):
            await blobs.present([kept])

    run(story)


async def _write_and_commit(writer):
    await writer.write(LONG)
    await writer.commit()
