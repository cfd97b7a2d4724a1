"""The clients, in a process of their own: `python -m bench.load` takes a job as JSON and answers as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

from bench.wire import PIECE_BYTES, Connection

SMALL_BYTES = 64 * 1024


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Have a job done by another process and wait for what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def send(job: dict[str, Any]) -> dict[str, Any]:
    """One large body in."""
    connection = Connection(job["port"], job["headers"])
    started = time.perf_counter()
    connection.send(job["path"], job["bytes"], b"\xa5" * PIECE_BYTES).json()
    return {"seconds": time.perf_counter() - started}


def fetch(job: dict[str, Any]) -> dict[str, Any]:
    """One large body out."""
    connection = Connection(job["port"], job["headers"])
    started = time.perf_counter()
    assert connection.fetch(job["path"]) == job["bytes"]
    return {"seconds": time.perf_counter() - started}


def deposit_small(job: dict[str, Any]) -> dict[str, Any]:
    """Deposits of 64 KiB over several connections at once, for some seconds: open a transfer, put one file in."""
    stop_at = time.perf_counter() + job["seconds"]
    counts, failures = [0] * job["connections"], list[BaseException]()

    def deposit(place: int) -> None:
        connection, content = Connection(job["port"], job["headers"]), b"\xa5" * SMALL_BYTES
        try:
            while time.perf_counter() < stop_at:
                opened = connection.ask("POST", "/api/v1/transfers", b"{}", Content_Type="application/json").json()
                connection.ask("PUT", f"/api/v1/transfers/{opened['id']}/files/x", content).json()
                counts[place] += 1
        except BaseException as error:  # noqa: BLE001 - told to the main thread, which fails for all
            failures.append(error)

    started = time.perf_counter()
    clients = [threading.Thread(target=deposit, args=(place,)) for place in range(job["connections"])]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if failures:
        raise failures[0]
    return {"deposits": sum(counts), "seconds": time.perf_counter() - started}


JOBS = {"send": send, "fetch": fetch, "deposit_small": deposit_small}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(JOBS[asked["job"]](asked)))
