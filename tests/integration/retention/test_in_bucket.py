"""Deposit, sweep, reconciliation and reports with blobs in a bucket, where a folder's tricks do not exist: no locks, no
rename, no free space, and a server that may be out of reach.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.actions.check_readiness import check_readiness
from app.actions.delete_transfer import delete_transfer
from app.actions.examine import examine
from app.actions.reconcile import reconcile
from app.crypto.token import new_id
from app.db import service_rows
from app.domain.errors import BlobsOutOfReach, TransferEnded
from app.domain.finding import Level
from app.domain.transfer import TransferState
from app.lifecycle import gone
from app.runtime.installation import InstallationMismatch
from app.storage import s3_client
from tests.integration.actions.stories import (
    CONTENT,
    a_caller,
    a_transfer,
    blobs_held,
    claim,
    deposit,
    fetch,
    files_of,
    keys_held,
    run,
    send,
    sweep,
    transfer_row,
)
from tests.integration.storage.s3_servers import credentials, faults, s3_servers
from tests.marks import in_test_all

__all__ = ["credentials", "faults", "s3_servers"]

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(params=["rclone", in_test_all("seaweedfs")])
def object_store(request, s3_servers, credentials):
    """Not moto, which dates every open upload to 2010."""
    return s3_servers.get(request.param)


@pytest.fixture
def resources(start_service, time, object_store, faults, monkeypatch):
    """On the host's real time, which the server's times are compared with."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    time.moment = datetime.now(UTC)
    resources = start_service(blobs=object_store.variables()["CADUCEE_BLOBS"], s3_endpoint=faults.endpoint)
    with resources.database.writing() as transaction:
        service_rows.record_sweep(transaction.connection, time.moment)
    return resources


@pytest.fixture
def caller(resources):
    return a_caller(resources)


def test_the_life_of_a_file_ends_with_an_empty_bucket(resources, caller, time):
    sent = send(resources, caller)
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT
    assert blobs_held(resources) == {file.blob_id for file in files_of(resources, sent.id)}
    time.pass_by(8 * DAY)
    assert sweep(resources).succeeded
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert blobs_held(resources) == set()
    assert not gone.traces_of(resources, sent.id)


def test_orphans_of_every_kind_are_destroyed_and_nothing_else(resources, caller, time):
    """Objects, open uploads of processes that died, and suspended ones."""
    kept = send(resources, caller)

    async def crashed():
        for ends in ("commit", "suspend", None):
            writer = await resources.blobs.create(new_id())
            await writer.write(CONTENT)
            if ends:
                await getattr(writer, ends)()

    run(crashed())
    assert [look.orphans for look in reconcile(resources)] == [0, 0, 0], "younger than the grace time"
    time.pass_by(2 * HOUR)
    blobs = reconcile(resources)[0]
    assert (blobs.what, blobs.orphans, blobs.failed) == ("blobs", 4, 0)
    assert blobs_held(resources) == {file.blob_id for file in files_of(resources, kept.id)}
    assert run(fetch(resources, run(claim(resources, kept.share)))) == CONTENT


def test_a_server_that_is_out_of_reach_delays_bytes_and_never_keys(resources, caller, time, faults):
    sent = send(resources, caller)
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        faults.refuse(method, "", status=503, code="ServiceUnavailable")
    with pytest.raises(BlobsOutOfReach):
        run(deposit(resources, caller, a_transfer(resources, caller)))
    with pytest.raises(BlobsOutOfReach):
        run(fetch(resources, run(claim(resources, sent.share))))
    assert "blobs_unavailable" in check_readiness(resources)
    assert [found.detail for found in examine(resources) if found.check == "blob store"] == [
        "blob store, get_bucket_versioning: ServiceUnavailable"
    ]
    time.pass_by(8 * DAY)
    sweep(resources)
    assert keys_held(resources) == set()
    assert transfer_row(resources, sent.id).state == TransferState.KEYS_DESTROYED
    faults.clear()
    time.pass_by(HOUR)
    assert sweep(resources).succeeded
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED


def test_an_upload_that_another_process_ended_is_refused_as_ended(resources, caller):
    """There is no lock: the sweeper of another process may delete the blob before this one checks its transfer."""
    transfer = a_transfer(resources, caller)

    async def body():
        yield CONTENT
        (file,) = files_of(resources, transfer.id)
        await asyncio.to_thread(delete_transfer, resources, transfer.id, caller=caller)
        await resources.blobs.delete([file.blob_id], force=True)
        yield CONTENT

    with pytest.raises(TransferEnded):
        run(deposit(resources, caller, transfer, body()))


def test_doctor_says_what_is_missing_in_the_bucket(resources):
    found = {each.check: each for each in examine(resources) if each.check.startswith("bucket")}
    assert found["bucket"].level is Level.GOOD
    assert found["bucket lifecycle"].level is Level.WEAK
    assert '"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 8}' in found["bucket lifecycle"].do


def test_a_bucket_of_another_installation_is_refused(resources, object_store):
    place = resources.settings.blobs_bucket
    object_store.client().put_object(Bucket=place.bucket, Key=place.installation_key, Body=b"another\n")
    with pytest.raises(InstallationMismatch, match="the blobs belongs to another installation"):
        reconcile(resources)
