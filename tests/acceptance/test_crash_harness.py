"""kill -9 at every named step of deposit, claim and deletion; after a restart nothing that was promised is broken.

The invariants: nothing is served twice, nothing is readable past its expiry, no deposit that was acknowledged is lost,
no orphan is left after reconciliation, the log verifies (lessons 4, 9, 17).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.fault_points import POINTS
from tests.acceptance.people import Share, add_file, claim, issue, open_transfer, try_claim
from tests.acceptance.service import Installation, until

CONTENT = b"nom;resultat\n" * 200_000  # more than one piece, so that half a body is a place to die in
FEW = ("deposit.body_half", "deposit.blob_committed", "claim.won", "deletion.keys_gone", "deletion.bytes_gone")


@dataclass
class Seen:
    """What the outside world was told before the process died."""

    share: Share | None = None
    claimed: int = 0
    completed: bool = False


def live_through(installation: Installation, token: str, point: str) -> Seen:
    """Play the whole life of a file against a service that dies at `point`."""
    seen = Seen()
    with installation.serving(FAULT=point) as server, server.http(token) as http:
        with suppress(httpx.TransportError):
            transfer, key = open_transfer(http)
            assert add_file(http, transfer, key, CONTENT).status_code == httpx.codes.CREATED
            seen.share = issue(http, transfer, key)
            claimed = claim(http, seen.share)
            seen.claimed += 1
            assert claimed.get().content == CONTENT
            seen.completed = claimed.complete().status_code == httpx.codes.NO_CONTENT
            until(lambda: "scheduler_ended" in server.log, seconds=4, what="the scheduler's death")
        server.kill()
    return seen


def check_after_restart(installation: Installation, token: str, seen: Seen) -> None:
    """Restart without the fault and look at everything that was promised."""
    with installation.serving(ORPHAN_GRACE="1s") as server, server.http(token) as http:
        if seen.share is not None and not seen.claimed:
            answer = try_claim(http, seen.share)
            assert answer.status_code in {httpx.codes.OK, httpx.codes.GONE}, answer.text
        if seen.share is not None and seen.claimed:
            assert try_claim(http, seen.share).status_code == httpx.codes.GONE, "served twice"
        for (transfer,) in installation.rows("SELECT id FROM transfers WHERE verified_at IS NULL"):
            http.delete(f"/api/v1/transfers/{transfer}")
        until(lambda: not installation.rows("SELECT id FROM transfers WHERE state <> 'verified'"), seconds=35)
        installation.run("doctor", "--reconcile", code=None, ORPHAN_GRACE="1s")
        assert installation.key_files() == [], "a key is left"
        assert installation.files("blobs") == [], "bytes are left"
        assert installation.run("audit", "retention", "--json", code=None).json["overdue"] == 0
        assert installation.run("audit", "verify").code == 0


@pytest.mark.parametrize("point", FEW)
def test_a_crash_breaks_no_promise(tmp_path: Path, point: str) -> None:
    """Kill -9 at the steps that matter most."""
    _crash(tmp_path, point)


@pytest.mark.acceptance
@pytest.mark.parametrize("point", [point for point in POINTS if point not in FEW])
def test_a_crash_at_any_other_step_breaks_no_promise(tmp_path: Path, point: str) -> None:
    """Kill -9 at every other step."""
    _crash(tmp_path, point)


def _crash(tmp_path: Path, point: str) -> None:
    installation = Installation(tmp_path)
    token = installation.token()
    seen = live_through(installation, token, point)
    assert not (seen.completed and point.startswith(("deposit.", "share.", "claim."))), "the fault was never reached"
    check_after_restart(installation, token, seen)
