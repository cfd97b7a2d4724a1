"""A client that takes all it can get, on many connections: `python -m tests.acceptance.greedy`, a process of its own.

It takes a job as JSON on stdin, and asks until stdin is closed; then it prints how often it got each status.
"""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

CONNECTIONS = 50


@dataclass(frozen=True)
class Step:
    """One request. A path may quote the answer of the step before: `{share_id}`. A body of `size` bytes, or JSON."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None
    size: int | None = None


@contextmanager
def at_work(port: int, *steps: Step, connections: int = CONNECTIONS) -> Iterator[Counter[int]]:
    """Repeat these steps on each connection while the block runs. Afterwards the counter says what came of them."""
    job = {"port": port, "steps": [asdict(step) for step in steps], "connections": connections}
    command = [sys.executable, "-m", "tests.acceptance.greedy", base64.b64encode(json.dumps(job).encode()).decode()]
    statuses: Counter[int] = Counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "at work\n"
        yield statuses
    finally:
        out, _ = process.communicate()
        statuses.update({int(status): count for status, count in json.loads(out).items()})


def _repeat(job: dict[str, Any], statuses: Counter[int], stop: threading.Event) -> None:
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", job["port"], timeout=120)
        with suppress(OSError, http.client.HTTPException):  # it is cut off: it comes again
            while not stop.is_set():
                _once(connection, job["steps"], statuses)
        connection.close()


def _once(connection: http.client.HTTPConnection, steps: list[dict[str, Any]], statuses: Counter[int]) -> None:
    answer: dict[str, Any] = {}
    for step in steps:
        body, headers = bytes(step["size"]) if step["size"] is not None else None, dict(step["headers"])
        if step["json"] is not None:
            body = json.dumps(step["json"]).encode()
            headers["Content-Type"] = "application/json"
        connection.request(step["method"], step["path"].format_map(answer), body, headers)
        response = connection.getresponse()
        content = response.read()
        statuses[response.status] += 1
        if response.status >= http.client.BAD_REQUEST:
            return
        if response.headers.get_content_type() == "application/json":
            answer = json.loads(content)


def main() -> None:
    """Do a job."""
    job, statuses, stop = json.loads(base64.b64decode(sys.argv[1])), Counter[int](), threading.Event()
    threads = [
        threading.Thread(target=_repeat, args=(job, statuses, stop), daemon=True) for _ in range(job["connections"])
    ]
    for thread in threads:
        thread.start()
    print("at work", flush=True)
    sys.stdin.read()
    stop.set()
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
