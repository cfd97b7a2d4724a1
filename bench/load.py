"""The clients, in a separate process: `python -m bench.load` reads a job as JSON and prints the result as JSON."""

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
    """Run a job in another process and return its result."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def send(job: dict[str, Any]) -> dict[str, Any]:
    """Upload one large body. Returns the elapsed seconds."""
    connection = Connection(job["port"], job["headers"])
    started = time.perf_counter()
    connection.send(job["path"], job["bytes"], b"\xa5" * PIECE_BYTES).json()
    return {"seconds": time.perf_counter() - started}


def fetch(job: dict[str, Any]) -> dict[str, Any]:
    """Download one large body. Returns the elapsed seconds."""
    connection = Connection(job["port"], job["headers"])
    started = time.perf_counter()
    assert connection.fetch(job["path"]) == job["bytes"]
    return {"seconds": time.perf_counter() - started}


def deposit_small(job: dict[str, Any]) -> dict[str, Any]:
    """Deposit files of 64 KiB, each in a transfer of its own, over `connections` connections for `seconds` seconds."""
    stop_at = time.perf_counter() + job["seconds"]
    counts, failures = [0] * job["connections"], list[BaseException]()

    def deposit(place: int) -> None:
        connection, content = Connection(job["port"], job["headers"]), b"\xa5" * SMALL_BYTES
        try:
            while time.perf_counter() < stop_at:
                opened = connection.ask("POST", "/api/v1/transfers", b"{}", Content_Type="application/json").json()
                connection.ask("PUT", f"/api/v1/transfers/{opened['id']}/files/x", content).json()
                counts[place] += 1
        except BaseException as error:  # noqa: BLE001 - passed to the main thread, which raises it
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
