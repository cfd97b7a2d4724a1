"""The dead-man's switch, played on a running service: whatever stops the sweeper stops deposits, and says so.

Lesson 1: stop the sweeper: past expiry a fetch is refused, `/readyz` is red, deposits get 503, `audit retention` exits
non-zero; a restart purges (Dispose; Pingvin Share #36).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from tests.acceptance.people import add_file, claim, key_header, ok, open_transfer, send, try_claim
from tests.acceptance.service import Installation, Server, free_port, until

CONTENT = b"nom;resultat\n" * 1000


@contextmanager
def a_scheduler_that_hangs(server: Server) -> Iterator[int]:
    """The process is there and does nothing: no supervisor sees that anything is wrong."""
    pid = until(server.scheduler, what="the scheduler")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def another_scheduler(server: Server, gone: int) -> bool:
    """Whether a scheduler runs that is not this one."""
    return server.scheduler() not in {None, gone}


def refused_deposit(http: httpx.Client) -> str | None:
    """The code of the refusal of a deposit; None when it was taken in."""
    answer = http.put("/api/v1/send/a.bin", params={"recipient": "CPAM 75", "expires_in": "1h"}, content=b"x")
    if answer.status_code == httpx.codes.CREATED:
        return None
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
    code: str = answer.json()["code"]
    return code


def not_ready(http: httpx.Client) -> list[str]:
    """Why `/readyz` is red; empty while it is green."""
    answer = http.get("/readyz")
    reasons: list[str] = answer.json()["reasons"]
    assert answer.status_code == (httpx.codes.SERVICE_UNAVAILABLE if reasons else httpx.codes.OK)
    return reasons


def metrics(port: int) -> dict[str, float]:
    """The samples without labels, by name; none before the scheduler listens."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, trust_env=False).text
    except httpx.ConnectError:
        return {}
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines if "{" not in name}


def test_a_sweeper_that_hangs_stops_deposits_and_nothing_else(tmp_path: Path) -> None:
    """It goes red within the time set, shares that were issued still work, and it recovers by itself."""
    port = free_port()
    installation = Installation(tmp_path, DEADMAN="5s", METRICS_BIND=f"127.0.0.1:{port}")
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        share = send(http, CONTENT)
        until(lambda: metrics(port).get("caducee_deletion_assured") == 1, seconds=60, what="the first scrape")
        assert metrics(port)["caducee_oldest_object_age_seconds"] > 0
        assert installation.run("audit", "retention").out.strip().endswith("clean: nothing is overdue")
        with a_scheduler_that_hangs(server):
            until(lambda: not_ready(http) == ["retention_not_assured"], what="/readyz to say so")
            assert refused_deposit(http) == "retention_not_assured"
            report = installation.run("audit", "retention", "--json", code=2).json
            assert (report["sweeping"], report["exit_code"]) == (False, 2)
            claimed = claim(http, share)
            assert claimed.get().content == CONTENT
            assert claimed.complete().status_code == httpx.codes.NO_CONTENT
            assert installation.key_files() == [], "the request destroys the keys, whoever sweeps"
            assert len(installation.files("blobs")) > 0
        until(lambda: not_ready(http) == [], what="recovery")
        assert refused_deposit(http) is None
        until(lambda: installation.run("audit", "retention", code=None).code == 0, what="a clean report")


def test_uploads_that_run_stop_with_it(tmp_path: Path) -> None:
    """What began while deletion was assured does not count once it no longer is; none of its bytes stay."""
    installation = Installation(tmp_path, DEADMAN="5s")
    token = installation.token()
    with installation.serving() as server, server.http(token) as http, server.http(token) as sending:
        transfer, key = open_transfer(http)

        def body() -> Iterator[bytes]:
            yield CONTENT
            until(lambda: "retention_not_assured" in not_ready(http), what="the switch")
            until(lambda: not installation.files("blobs"), what="the end of the bytes, without another byte")
            yield CONTENT

        with a_scheduler_that_hangs(server):
            answer = add_file(sending, transfer, key, body())
            assert (answer.status_code, answer.json()["code"]) == (503, "retention_not_assured")
            assert installation.rows("SELECT count(*) FROM files") == [(0,)]
            path = f"/api/v1/transfers/{transfer}/shares"
            empty = http.post(path, json={"recipient": "r"}, headers=key_header(key))
            assert empty.status_code == httpx.codes.CONFLICT, "nothing is in it"
        until(lambda: not_ready(http) == [], what="recovery")
        assert ok(add_file(http, transfer, key, CONTENT), 201)["number"] == 0


def test_without_a_scheduler_deposits_stop_and_a_restart_deletes_what_fell_due(tmp_path: Path) -> None:
    """`--no-scheduler`, and nothing else sweeps: somebody forgot to start it."""
    installation = Installation(tmp_path, DEADMAN="12s")
    token = installation.token()
    assert installation.run("sweep", "--json").json["succeeded"] is True
    with installation.serving("--no-scheduler") as server, server.http(token) as http:
        share = send(http, CONTENT, expires_in="3s")
        until(lambda: not_ready(http) == ["retention_not_assured"], seconds=20, what="/readyz to say so")
        assert refused_deposit(http) == "retention_not_assured"
        assert try_claim(http, share).json()["code"] == "share_expired"
        assert len(installation.key_files()) > 0, "nothing has swept or purged"
        assert installation.run("audit", "retention", code=2).out.count("CANNOT PROVE that everything due is gone")
    with installation.serving() as server, server.http(token) as http:
        assert refused_deposit(http) is None
        rows = installation.rows("SELECT state FROM transfers WHERE id = ?", share.transfer_id)
        assert rows == [("verified",)]
        assert try_claim(http, share).json()["code"] == "share_expired"


def test_a_scheduler_that_is_killed_again_and_again_comes_back(tmp_path: Path) -> None:
    """Each time another one is started; the switch does not even go."""
    installation = Installation(tmp_path, DEADMAN="1m")
    token = installation.token()
    with installation.serving() as server, server.http(token) as http:
        for _ in range(3):
            pid = until(server.scheduler, what="a scheduler")
            os.kill(pid, signal.SIGKILL)
            until(partial(another_scheduler, server, pid), what="the next scheduler")
        share = send(http, CONTENT, expires_in="2s")
        until(lambda: not installation.key_files(), what="the end of the keys")
        until(lambda: not installation.files("blobs"), what="the end of the bytes")
        assert try_claim(http, share).status_code == httpx.codes.GONE
        assert server.log.count("scheduler_ended") == 3
