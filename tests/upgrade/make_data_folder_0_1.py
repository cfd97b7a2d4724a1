"""How `data_folder_0_1.tar.gz` was made: a small data folder with live transfers, by version 0.1 of the program.

    git worktree add ../caducee-0.1 be26834 && make -C ../caducee-0.1 setup
    .venv/bin/python -m tests.upgrade.make_data_folder_0_1 ../caducee-0.1/.venv/bin/caducee

It starts that program, walks a few transfers to the states that an upgrade must cope with, and kills it in the middle
of an upload, as a power cut would. The folder is packed as it lies then; only SQLite's write-ahead log is merged into
the file, and the boot id in marks and anchor is a made-up one, so that the folder comes from another boot wherever it
is unpacked. `data_folder_0_1.json` holds what the depositors and recipients of that throw-away installation know.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from app.client.sealed_claim import SealedClaim
from app.crypto.encoding import encode
from tests.acceptance.people import Share, add_file, bearer, claim, ok, open_transfer, send
from tests.acceptance.sealed_people import a_sealed_transfer
from tests.upgrade.folder_0_1 import ARCHIVE, BOOT_ID, CONTENT, FETCHED, KNOWN, SCHEMA, SETTINGS

LONG, SHORT = "31d", "10m"


class OldService:
    """The program of version 0.1 on a data folder."""

    def __init__(self, program: Path, data: Path) -> None:
        """Take the place; nothing runs yet."""
        self._program, self.data = program, data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        outside = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
        self._environment = outside | SETTINGS | {"CADUCEE_DATA_DIR": str(data)}

    def run(self, *arguments: str) -> Any:
        """Run a command; return the JSON document it prints."""
        done = subprocess.run(
            [self._program, *arguments, "--json"], env=self._environment, capture_output=True, check=True
        )
        return json.loads(done.stdout)

    def start(self) -> None:
        """Serve, and wait until it is ready."""
        self._process = subprocess.Popen(
            [self._program, "serve", "--port", str(self._port), "--workers", "1"],
            env=self._environment,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self.http() as http:
            wait_for(lambda: answers(http))

    def http(self, token: str = "") -> httpx.Client:
        """A client of it."""
        headers = bearer(token) if token else {}
        return httpx.Client(base_url=f"http://127.0.0.1:{self._port}", headers=headers, timeout=60, trust_env=False)

    def kill(self) -> None:
        """Kill it and its scheduler at once."""
        with suppress(ProcessLookupError):  # killed before
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def answers(http: httpx.Client) -> bool:
    """Whether it is ready."""
    try:
        return http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    """Wait half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.1)


def known(share: Share, expires_in: str, **more: object) -> dict[str, object]:
    """What depositor and recipient know of a transfer."""
    return {
        "transfer_id": share.transfer_id,
        "client_key": share.client_key,
        "share_id": share.id,
        "link": share.link,
        "password": share.password,
        "expires_in": expires_in,
        **more,
    }


def walk(http: httpx.Client, service: OldService) -> dict[str, Any]:
    """Bring one transfer into each state. Returns what is known of each."""
    transfers: dict[str, Any] = {
        "issued": known(send(http, CONTENT, expires_in=LONG), LONG),
        "issued_short": known(send(http, CONTENT, expires_in=SHORT), SHORT),
    }
    checkpoint = service.run("audit", "checkpoint")  # the one that an auditor keeps: the log goes on
    for name, lifetime in {"claimed": LONG, "claimed_short": SHORT}.items():
        share = send(http, CONTENT, expires_in=lifetime)
        claimed = claim(http, share)
        assert claimed.get(range=f"bytes=0-{FETCHED - 1}").content == CONTENT[:FETCHED]
        transfers[name] = known(share, lifetime, claim_id=claimed.id, claim_token=claimed.token)
    transfers |= sealed(http)
    completed = send(http, CONTENT, expires_in=LONG)
    assert claim(http, completed).complete().is_success
    wait_for(lambda: http.get(f"/api/v1/transfers/{completed.transfer_id}/receipt").is_success)
    transfers["completed"] = known(completed, LONG)
    withdrawn = send(http, CONTENT, expires_in=LONG, keep_until_expiry="true")
    ok(http.delete(f"/api/v1/shares/{withdrawn.id}"), 204)
    transfers["withdrawn"] = known(withdrawn, LONG)
    return {"transfers": transfers, "checkpoint": checkpoint}


def sealed(http: httpx.Client) -> dict[str, Any]:
    """A sealed transfer whose share waits, and one whose share was claimed, which only its claimant may fetch."""
    found: dict[str, Any] = {}
    for name in ("sealed", "sealed_claimed"):
        transfer = a_sealed_transfer(http, CONTENT, expires_in=LONG)
        share = transfer.issue("CPAM 75")
        found[name] = {
            "transfer_id": transfer.id,
            "client_key": encode(transfer.client_key),
            "share_id": share.id,
            "link": share.link.text(),
            "password": share.password,
            "expires_in": LONG,
        }
        if name == "sealed_claimed":
            claimed = SealedClaim.redeem(http, share.link, share.password)
            found[name] |= {"claim_id": claimed.id, "claim_token": claimed.token}
    return found


def abandon_an_upload(service: OldService, http: httpx.Client) -> dict[str, object]:
    """Kill the service in the middle of a body. The transfer has a whole file beside it, which was issued."""
    transfer, key = open_transfer(http, expires_in=LONG)
    ok(add_file(http, transfer, key, CONTENT), 201)
    halfway = threading.Event()

    def body() -> Iterator[bytes]:
        yield CONTENT
        yield CONTENT
        halfway.wait()
        time.sleep(2)  # the service has written the row and made the blob
        service.kill()
        yield b""

    threading.Timer(1, halfway.set).start()
    try:
        add_file(http, transfer, key, body())
    except httpx.TransportError:
        return {"transfer_id": transfer, "client_key": key, "expires_in": LONG}
    raise AssertionError("the service was to be killed")


def settle(data: Path) -> None:
    """Merge the write-ahead log into the database, and replace the boot id."""
    with closing(sqlite3.connect(data / "db" / "caducee.sqlite")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA,), "not 0.1"
        [boot_id] = connection.execute("SELECT anchor_boot_id FROM service_state").fetchone()
        connection.execute("UPDATE service_state SET anchor_boot_id = ?", (BOOT_ID,))
        connection.commit()
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    for mark in (data / "vault" / "high-water", data / "vault" / "purge-time"):
        if mark.exists():
            mark.write_text(mark.read_text().replace(boot_id, BOOT_ID))
    for leftover in (data / "db").glob("*-*"):
        leftover.unlink()


def pack(data: Path) -> None:
    """Write the archive: no owner but a nameless one."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(ARCHIVE, "w:gz", compresslevel=9) as archive:
        archive.add(data, "data", filter=anonymous)


def main() -> None:
    """Make archive and JSON beside this file."""
    with tempfile.TemporaryDirectory() as scratch:
        service = OldService(Path(sys.argv[1]), Path(scratch) / "data")
        token = service.run("token", "create", "lab")["token"]
        service.start()
        try:
            with service.http(token) as http:
                facts = walk(http, service)
                facts["transfers"]["abandoned"] = abandon_an_upload(service, http)
        finally:
            service.kill()
        made_at = datetime.now(UTC).replace(microsecond=0)
        settle(service.data)
        pack(service.data)
    KNOWN.write_text(json.dumps({"made_at": made_at.isoformat(), "token": token, **facts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
