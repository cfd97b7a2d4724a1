"""Power cuts and killed processes at any moment: a restart finds its way, and nothing half-done is left."""

import os
import random
import signal
import threading
import time

import httpx
import pytest

from tests.acceptance.people import add_file, bearer, claim, key_header, ok, open_transfer, send
from tests.acceptance.service import until


def kill_during_upload(installation, *, after_bytes, lease_runs_out):
    """Kill everything while a file comes in; start again; look that after the lease nothing of it is left, that what
    was answered before is all there, and that what fell due meanwhile has ended.
    """
    with installation.serving() as server, server.http(token := installation.token()) as http:
        whole, held, due = send(http, b"whole"), claim(http, send(http, b"held")), send(http, expires_in="2s")
        until_due = time.monotonic() + 3.1  # an expiry is a whole second, rounded up
        transfer, key = open_transfer(http)
        uploading = threading.Event()
        thread = threading.Thread(target=_upload_until_cut, args=(http, transfer, key, after_bytes, uploading))
        thread.start()
        assert uploading.wait(10)
        server.kill()
        thread.join()
    assert installation.rows("SELECT state FROM files WHERE transfer_id = ?", transfer) in ([("receiving",)], [])
    time.sleep(max(0, until_due - time.monotonic()))
    with installation.serving() as server, server.http(token) as http:
        shown = ok(http.get(f"/api/v1/transfers/{due.transfer_id}"), 200)
        assert (shown["state"], shown["ending"]) == ("verified", "expired"), "before anything was served"
        assert not [path for path in installation.key_files() if due.transfer_id in path.name]
        assert claim(http, whole).get().content == b"whole"
        path = f"/api/v1/claims/{held.id}/files/0"
        assert http.get(path, headers=bearer(held.token)).content == b"held", "a claim outlives a power cut"
        lease_runs_out()
        until(
            lambda: installation.rows("SELECT count(*) FROM files WHERE transfer_id = ?", transfer) == [(0,)],
            seconds=30,
            what="the end of the broken upload",
        )
        known = {row[0] for row in installation.rows("SELECT blob_id FROM files")}
        assert {path.name for path in installation.files("blobs")} <= known
        assert installation.unfinished_blobs() == []
    installation.run("audit", "verify")


def _upload_until_cut(http, transfer, key, after_bytes, uploading):
    def body():
        sent = 0
        while True:
            yield os.urandom(65_536)
            sent += 65_536
            if sent >= after_bytes:
                uploading.set()
            time.sleep(0.001)

    try:
        http.put(f"/api/v1/transfers/{transfer}/files/a", content=body(), headers=key_header(key))
    except httpx.TransportError:
        return
    raise AssertionError("the upload was answered")


def test_killed_during_an_upload_leaves_no_blob_and_no_row(installation):
    """Lesson 9: no partial upload survives a kill -9. The lease is made to run out instead of waited for."""

    def now():
        installation.alter("UPDATE files SET lease_until = 1 WHERE state = 'receiving'")
        installation.alter("UPDATE transfers SET due_at = 1")

    kill_during_upload(installation, after_bytes=random.randrange(1, 3_000_000), lease_runs_out=now)


@pytest.mark.acceptance
@pytest.mark.timeout(900)
def test_killed_at_many_moments_of_an_upload_leaves_nothing_once_the_lease_is_over(installation):
    """The same at full scale, with the real lease."""
    moments = random.Random(99)
    for _ in range(8):
        kill_during_upload(installation, after_bytes=moments.randrange(1, 40_000_000), lease_runs_out=lambda: None)


def test_processes_that_die_are_replaced_and_none_outlives_serve(installation):
    """The scheduler is supervised; a second `serve` is told that the port is taken; and when `serve` itself is killed,
    workers with old code must not hold the port, nor a scheduler run beside the next one's.
    """
    with installation.serving("--workers", "2") as server, server.http(installation.token()) as http:
        first = until(server.scheduler, what="the scheduler")
        os.kill(first, signal.SIGKILL)
        until(lambda: server.scheduler() not in {None, first}, what="another scheduler")
        assert '"scheduler_ended"' in server.log
        share = send(http, expires_in="1s")
        until(lambda: ok(http.get(f"/api/v1/transfers/{share.transfer_id}"), 200)["deleted_at"], what="a deletion")

        again = installation.run("serve", "--port", str(server.port), "--no-scheduler", code=None)
        assert again.code != 0
        assert "Traceback" not in again.err
        assert http.get("/readyz").status_code == 200, "the first goes on"

        assert len(server.workers()) == 2
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(5)
        until(lambda: not server.processes(), seconds=10, what="the end of workers and scheduler")


def test_stopping_is_orderly(installation):
    """SIGTERM: what is under way is finished or cut, no process is left, and the stores are whole."""
    with installation.serving() as server, server.http(installation.token()) as http:
        transfer, key = open_transfer(http)
        ok(add_file(http, transfer, key, b"more"), 201)
        started = set(server.processes())
        assert server.stop() in {0, -signal.SIGTERM}
        until(lambda: not server.processes(), what="the end of all processes")
        assert "Traceback" not in server.log
        assert len(started) == 2
    installation.run("db", "check")
    installation.run("audit", "verify")
