"""Several workers on one data folder: a share works once, memory stays flat, a worker that dies is replaced."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.domain.high_water import HighWater
from app.terminal.serve import WORKER_SILENCE_SECONDS
from tests.acceptance.people import add_file, claim, issue, look, ok, open_transfer, send, try_claim
from tests.acceptance.service import PATIENCE_SECONDS, Installation, until

RSS_LIMIT = 150 * 1024 * 1024


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """A service with four workers, a token, and settings that keep Argon2 cheap."""
    installation = Installation(tmp_path_factory.mktemp("four"))
    with installation.serving("--workers", "4") as server:
        until(lambda: len(server.workers()) == 4)
        yield installation, server, installation.token()


def race(server, share, racers=50):
    """So many correct claims at once, each on a connection of its own, half of them by the one-line route."""

    def run(number):
        with server.http() as http:
            if number % 2:
                return try_claim(http, share)
            return http.post(f"/api/v1/shares/{share.id}/content", auth=share.basic)

    with ThreadPoolExecutor(racers) as threads:
        return list(threads.map(run, range(racers)))


def exactly_one_wins(server, token, racers=50):
    with server.http(token) as http:
        share = send(http, b"content")
        answers = race(server, share, racers)
        won = [answer for answer in answers if answer.status_code == 200]
        assert len(won) == 1
        lost = {(answer.status_code, answer.json()["code"]) for answer in answers if answer.status_code != 200}
        assert lost <= {(410, "share_used"), (503, "busy")}
        assert sum(answer.content == b"content" for answer in answers) <= 1
        seen = look(http, share)
        assert (seen["state"], seen["attempts_left"]) == ("claimed", 5)
        again = ok(try_claim(http, share), 410)
        assert again["code"] == "share_used"


def test_of_fifty_claims_at_once_exactly_one_succeeds(four):
    """Lesson 13 (onetimesecret 0.26.0, PasswordPusher #4738, Send PR #238): and correct racers never lock a share."""
    _, server, token = four
    for _ in range(3):
        exactly_one_wins(server, token)


@pytest.mark.acceptance
def test_of_fifty_claims_at_once_exactly_one_succeeds_at_the_real_cost_of_argon2(tmp_path):
    """Lesson 13 at full scale: 64 MiB and three passes a guess."""
    real = {"ARGON2_TIME": "3", "ARGON2_MEMORY_KIB": "65536", "ARGON2_LANES": "4"}
    installation = Installation(tmp_path, **real)
    with installation.serving("--workers", "4") as server:
        token = installation.token()
        for _ in range(5):
            exactly_one_wins(server, token)


def peak_bytes(pid):
    """The most memory that a process ever had in RAM (VmHWM): stricter than any sample."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def uploads_at_once(server, token, *, uploads, megabytes):
    """So many uploads of that size at once, into transfers without a share, so that no Argon2 runs."""
    piece = os.urandom(1024 * 1024)

    def run(_):
        with server.http(token) as http:
            transfer, key = open_transfer(http)
            added = ok(add_file(http, transfer, key, (piece for _ in range(megabytes))), 201)
            http.delete(f"/api/v1/transfers/{transfer}")
        return added["size"]

    with ThreadPoolExecutor(uploads) as threads:
        sizes = list(threads.map(run, range(uploads)))
    assert sizes == [megabytes * 1024 * 1024] * uploads
    return {pid: peak_bytes(pid) for pid in server.workers()}


def test_memory_does_not_grow_with_the_file(four):
    """docs/performance.md: several uploads at once, each larger than what a worker may hold of it."""
    _, server, token = four
    before = {pid: peak_bytes(pid) for pid in server.workers()}
    peaks = uploads_at_once(server, token, uploads=4, megabytes=24)
    assert max(peaks.values()) < RSS_LIMIT
    assert max(peaks[pid] - before[pid] for pid in peaks) < 40 * 1024 * 1024


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_sixteen_large_files_at_once(tmp_path):
    """The same at full scale: 16 uploads of 256 MiB at once over four workers."""
    installation = Installation(tmp_path)
    with installation.serving("--workers", "4") as server:
        until(lambda: len(server.workers()) == 4)
        peaks = uploads_at_once(server, installation.token(), uploads=16, megabytes=256)
        print({pid: f"{peak / 1024**2:.0f} MiB" for pid, peak in peaks.items()})
        assert max(peaks.values()) < RSS_LIMIT


def test_a_worker_that_is_killed_is_replaced_and_nothing_was_lost(four):
    _, server, token = four
    with server.http(token) as http:
        share = send(http, b"before")
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(
            lambda: victim not in server.workers() and len(server.workers()) == 4,
            seconds=WORKER_SILENCE_SECONDS + PATIENCE_SECONDS,  # it may die while the parent waits for its answer
            what="a new worker",
        )
    with server.http(token) as http:
        assert claim(http, share).get().content == b"before"
        send(http, b"after")


@pytest.mark.acceptance
def test_a_worker_that_is_replaced_refuses_a_database_that_was_restored(tmp_path):
    """As the first workers do. The service ends and says why, instead of opening used shares again until a sweep sees
    the restored database.
    """
    installation = Installation(tmp_path)
    with installation.serving("--workers", "2"):
        token = installation.token()
    backup = {path: path.read_bytes() for path in installation.files("db")}

    def remembered():
        return HighWater.from_text((installation.data / "vault" / "high-water").read_text()).log_size

    before = remembered()
    with installation.serving("--workers", "2") as server:
        with server.http(token) as http:
            send(http)
        until(lambda: remembered() > before + 2, what="the mark of a sweep")
        for path in installation.files("db"):
            path.unlink()
        for path, content in backup.items():
            path.write_bytes(content)
        os.kill(server.workers()[0], signal.SIGKILL)
        until(lambda: server.process.poll() is not None, seconds=60, what="the end of the service")
        assert "database_rolled_back" in server.log


def test_a_share_is_seen_alike_by_every_worker(four):
    """What one worker ends is ended for all, at once: they share nothing but the stores."""
    _, server, token = four
    with server.http(token) as http:
        share = send(http)
        other = issue(http, share.transfer_id, share.client_key)
        held = claim(http, share)
        assert http.delete(f"/api/v1/shares/{other.id}").status_code == 204
        assert http.delete(f"/api/v1/shares/{share.id}").status_code == 204

    def ask(_):
        with server.http(token) as http:
            path = f"/api/v1/claims/{held.id}/files/0"
            fetched = http.get(path, headers={"Authorization": f"Bearer {held.token}"})
            return try_claim(http, other).status_code, fetched.status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(24))) == {(410, 410)}
