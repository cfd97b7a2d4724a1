"""The product's own client and curl, in turns: the same file to the same service, and from it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from app.client.collecting import collect
from app.client.fetching import Fetching
from app.client.http_calls import connect
from app.client.link import Link
from app.client.sending import Request, Sending, Sent
from app.client.state import ClientState
from bench.servers import Service
from bench.wire import Connection


def rounds(service: Service, folder: Path, *, size: int, count: int) -> tuple[list[float], ...]:
    """Return seconds per file of `size` bytes, one per round: of a sealed `send`, `curl -T`, `get`, and curl's
    download. Each writes what it fetches to the disk.
    """
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(size))
    found = tuple(list[float]() for _ in range(4))
    for _ in range(count):
        for times, seconds in zip(found, (*_client(service, folder), *_curl(service, folder)), strict=True):
            times.append(seconds)
    sent, fetched, curl_sent, curl_fetched = found
    return sent, curl_sent, fetched, curl_fetched


def _client(service: Service, folder: Path) -> tuple[float, float]:
    state, shown = ClientState(folder / "state"), list[Sent]()
    origin = f"http://127.0.0.1:{service.port}"
    with connect(origin, service.token) as http:
        started = time.perf_counter()
        Sending(http, state, Request(collect([folder / "file"]), ["bench"], {})).run(shown.append)
        sent = time.perf_counter() - started
    (share,) = shown[0].shares.values()
    (folder / "got").mkdir()
    with connect(origin) as http:
        started = time.perf_counter()
        (file,) = Fetching(http, state, Link.parse(share.link.text()), folder=folder / "got").run(share.password)
        fetched = time.perf_counter() - started
    file.path.unlink()
    (folder / "got").rmdir()
    return sent, fetched


def _curl(service: Service, folder: Path) -> tuple[float, float]:
    answer, got = folder / "answer", folder / "got"
    origin = f"http://127.0.0.1:{service.port}/api/v1"
    sent = _timed(
        "-T", f"{folder / 'file'}", "-o", f"{answer}", f"{origin}/send/x?recipient=bench", token=service.token
    )
    share = json.loads(answer.read_bytes())
    asked = json.dumps({"link_secret": share["link"].partition("#")[2], "password": share["password"]}).encode()
    connection = Connection(service.port)
    claim = connection.ask(
        "POST", f"/api/v1/shares/{share['share_id']}/claim", asked, Content_Type="application/json"
    ).json()
    connection.close()
    fetched = _timed("-o", f"{got}", f"{origin}/claims/{claim['claim_id']}/files/0", token=claim["claim_token"])
    got.unlink()
    connection = Connection(service.port, {"Authorization": f"Bearer {service.token}"})
    assert connection.ask("DELETE", f"/api/v1/transfers/{share['transfer_id']}").status == 204
    connection.close()
    return sent, fetched


def _timed(*arguments: str, token: str) -> float:
    """Run curl, and return the seconds that its transfer took. The token goes through stdin."""
    command = ["curl", "-sS", "--fail", "-w", "%{stderr}%{time_total}", "-K", "-", *arguments]
    header = f'header = "Authorization: Bearer {token}"\n'
    done = subprocess.run(command, input=header, capture_output=True, text=True, check=True)
    return float(done.stderr)
