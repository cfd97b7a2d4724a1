"""Deletion on a full disk, whichever store is on it. Elsewhere (modl #97) freeing space needed space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.db.reserve import RESERVE_BYTES
from tests.acceptance.people import Share, claim, ok, send
from tests.acceptance.service import Installation, Server, until
from tests.acceptance.volumes import FILLER, fill, volume
from tests.marks import first

CONTENT = os.urandom(20_000)
SIZES = {"db": "40m", "vault": "4m", "blobs": "4m", "": "48m"}
"""Of the volume of each store, and of one that holds all."""


def reserve(installation: Installation) -> int:
    """The size of the reserve; 0 if it is not there."""
    file = installation.database.with_name(f"{installation.database.name}-reserve")
    return file.stat().st_size if file.exists() else 0


def left(installation: Installation) -> int:
    """How many transfers do not read deleted yet."""
    count: int = installation.rows("SELECT count(*) FROM transfers WHERE state <> 'verified'")[0][0]
    return count


def keys(installation: Installation) -> list[Path]:
    """The entries of the vault."""
    return [path for path in installation.key_files() if path.name != FILLER]


def delete(http: httpx.Client, shares: list[Share]) -> None:
    """Delete the transfers; the very first request must succeed."""
    for share in shares:
        ok(http.delete(f"/api/v1/transfers/{share.transfer_id}"), 204)


@pytest.fixture(params=first(1, reversed(SIZES)))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder of a store, on a small volume of its own."""
    folder: Path = tmp_path / "data" / request.param
    with volume(folder, size=SIZES[request.param]):
        yield folder


def test_what_is_held_is_deleted_on_a_full_disk_and_after_a_power_cut(store: Path, tmp_path: Path) -> None:
    installation = Installation(tmp_path, MIN_FREE_BYTES="0")
    with installation.serving() as server, server.http(token := installation.token()) as http:
        until(lambda: reserve(installation) == RESERVE_BYTES, what="the reserve")
        shares = [send(http, CONTENT) for _ in range(6)]
        claimed = claim(http, shares[5])
        fill(store)
        assert ok(http.put("/api/v1/send/a?recipient=x", content=CONTENT), 507)["code"] == "disk_nearly_full"
        delete(http, shares[:3])
        until(lambda: left(installation) <= 3, what="the deletion")
        assert claimed.get().content == CONTENT, "what exists is still given out"
        server.kill()
    server = Server.start(installation)
    try:
        with server.http(token) as http:
            until(lambda: _lives(http, server), what="a start on a full disk")
            delete(http, shares[3:])
            until(lambda: left(installation) == 0, what="the deletion after the start")
            assert keys(installation) == []
            installation.run("audit", "verify")
            (store / FILLER).unlink()
            until(lambda: http.get("/readyz").status_code == 200, seconds=30, what="readiness once there is room")
            send(http, CONTENT)
    finally:
        server.end()


@pytest.mark.parametrize(
    "command", first(1, [["lockdown", "on"], ["transfer", "delete", "{transfer}"], ["intake", "off"]])
)
def test_a_command_works_on_a_disk_that_filled_up_while_nothing_ran(tmp_path: Path, command: list[str]) -> None:
    """The first command: nothing has given the reserve up before."""
    installation = Installation(tmp_path, MIN_FREE_BYTES="0")
    with volume(tmp_path / "data", size=SIZES[""]):
        with installation.serving() as server, server.http(installation.token()) as http:
            until(lambda: reserve(installation) == RESERVE_BYTES, what="the reserve")
            transfer = send(http, CONTENT).transfer_id
            server.kill()
        fill(tmp_path / "data")
        installation.run(*(word.format(transfer=transfer) for word in command))
        assert reserve(installation) == 0
        assert "given up" in installation.run("doctor", code=1).out
        installation.run("transfer", "delete", transfer)
        installation.run("sweep")
        assert (left(installation), keys(installation), installation.files("blobs")) == (0, [], [])


def _lives(http: httpx.Client, server: Server) -> bool:
    assert server.process.poll() is None, server.log
    try:
        return http.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
