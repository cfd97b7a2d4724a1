"""`python -m bench.memory_after`: what remains in the memory of a service's processes after a transfer is `verified`.

Deposits a file, fetches it, completes, waits for the verified deletion, and then searches the memory of every process
for the content, the names and the secrets. As root: no other user may read that memory. Result: docs/security.md.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))
from own_service import Installation  # type: ignore[import-not-found]

SIZES = (68_000, 34_000_000)
LINE = 64
"""Each line of the content is found by itself, so that a part that remains is measured too."""


def main() -> None:
    """Print a table: file size, process, and how often each secret was found."""
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="caducee-memory-") as folder:
            print(f"\nfile of {size:,} bytes")
            for process, found in measure(Path(folder), size).items():
                print(f"  {process}: {found}")


def measure(folder: Path, size: int) -> dict[str, dict[str, str]]:
    """Run one transfer to its end. Return what the memory of each process still contains."""
    marker = secrets.token_hex(12)
    content = b"".join(b"%s %038d\n" % (marker.encode(), number) for number in range(size // LINE))
    service = Installation(folder)
    with service.serving() as http:
        words = transfer(http, token_of(service), content)
        time.sleep(2)
        return {name: remains(pid, marker.encode(), words) for name, pid in processes(service)}


def token_of(service: Installation) -> str:
    """Return a new token of a depositor."""
    made = json.loads(service.command("token", "create", "measure", "--role", "staff", "--json"))
    return str(made["token"])


def transfer(http: httpx.Client, token: str, content: bytes) -> dict[str, bytes]:
    """Deposit, claim, fetch, complete, and wait until it is verified. Return the secrets, by what they are."""
    http.headers["Authorization"] = f"Bearer {token}"
    name = f"patient-{secrets.token_hex(8)}.csv"
    sent: dict[str, Any] = http.put(f"/api/v1/send/{name}?recipient=x&expires_in=1h", content=content).json()
    secret = sent["link"].partition("#")[2]
    body = {"link_secret": secret, "password": sent["password"]}
    claim = http.post(f"/api/v1/shares/{sent['share_id']}/claim", json=body).json()
    bearer = {"Authorization": f"Bearer {claim['claim_token']}"}
    assert http.get(f"/api/v1/claims/{claim['claim_id']}/files/0", headers=bearer).content == content
    http.post(f"/api/v1/claims/{claim['claim_id']}/complete", headers=bearer)
    while http.get(f"/api/v1/transfers/{sent['transfer_id']}").json()["state"] != "verified":
        time.sleep(0.2)
    kinds = {"name": name, "link secret": secret, "password": sent["password"], "client key": sent["client_key"]}
    return {kind: word.encode() for kind, word in {**kinds, "claim token": claim["claim_token"]}.items()}


def processes(service: Installation) -> Iterator[tuple[str, int]]:
    """Yield name and pid of every process that serves this installation, by its environment."""
    own = f"CADUCEE_DATA_DIR={service.data}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment, line = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if own in environment.split(b"\0"):
                kinds = {b"scheduler": "scheduler", b"spawn_main": "worker", b"resource_tracker": "tracker"}
                kind = next((kind for word, kind in kinds.items() if word in line), "serve")
                yield f"{kind} {folder.name}", int(folder.name)


def remains(pid: int, marker: bytes, words: dict[str, bytes]) -> dict[str, str]:
    """Search a process's writable memory. Return how much content and how many copies of each secret it contains."""
    lines, copies = 0, dict.fromkeys(words, 0)
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for start, stop in regions(pid):
            try:
                memory.seek(start)
                held = memory.read(stop - start)
            except (OSError, ValueError, OverflowError):
                continue
            lines += held.count(marker)
            for kind, word in words.items():
                copies[kind] += held.count(word)
    return {"content": f"{lines * LINE:,} bytes"} | {kind: str(count) for kind, count in copies.items()}


def regions(pid: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each writable region."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
        if found:
            yield int(found[1], 16), int(found[2], 16)


if __name__ == "__main__":
    main()
