"""Sweeps at full scale, each in a process of its own, on SQLite and folders, durable as the service is.

100,000 due transfers at 2,000 per second or more, in constant memory, at a price that does not grow; and a sweep with
nothing due over 1,000,000 live rows in under 50 ms. The small twins: tests/integration/retention/test_scale.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SWEEP = """
import asyncio, json, os, sys, time
from datetime import timedelta
from pathlib import Path
from app.actions import sweep as sweeping
from app.actions.issue_access_token import issue_access_token
from app.actions.keep_time import keep_time
from app.domain.access_token import Role
from app.runtime.installation import open_resources
from app.runtime.settings import Settings
from tests.integration.retention.seeding import seed

count, stored, lifetime = int(sys.argv[2]), sys.argv[3] == "stored", int(sys.argv[4])
resources = open_resources(Settings(data_dir=Path(sys.argv[1]), min_free_bytes=0))
token = issue_access_token(resources, name="seed", role=Role.STAFF, lifetime=None)
keep_time(resources)
now = resources.clock.now().replace(microsecond=0)
seed(resources, count, token_id=token.row.id, created_at=now - timedelta(days=7),
     expires_at=now + timedelta(seconds=lifetime), stored=stored)
os.sync()
def peak_kib():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
def one():
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the seeding
    before, began = peak_kib(), time.perf_counter()
    report = asyncio.run(sweeping.sweep(resources))
    seconds = time.perf_counter() - began
    grown = peak_kib() - before
    return {"ended": report.ended, "deleted": report.deleted, "seconds": seconds, "grown_kib": grown}
sweeps = [one() for _ in range(int(sys.argv[5]))]
print(json.dumps(sweeps))
"""


def sweeps(folder: Path, count: int, stored: str, lifetime: int, times: int) -> list[dict[str, Any]]:
    """Seed a fresh installation, and sweep it so many times."""
    arguments = [str(folder), str(count), stored, str(lifetime), str(times)]
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_100_000_due_transfers_end_in_one_sweep_at_a_steady_price(tmp_path: Path) -> None:
    """At 2,000 per second; a thousand cost no less each; memory stays where it is. Others on the machine can only make
    it slower: of three tries the quickest tells what it can.
    """
    (few,) = sweeps(tmp_path / "few", 1_000, "stored", -5, 1)
    assert few["deleted"] == 1_000
    quickest = float("inf")
    for attempt in range(3):
        (many,) = sweeps(tmp_path / f"many-{attempt}", 100_000, "stored", -5, 1)
        print(f"1,000: {few}; 100,000: {many}, {100_000 / many['seconds']:.0f} per second")
        assert (many["ended"], many["deleted"]) == (100_000, 100_000)
        assert many["grown_kib"] < 64 * 1024
        quickest = min(quickest, many["seconds"])
        if 100_000 / quickest >= 2_000:
            break
    assert quickest / 100_000 < 1.5 * few["seconds"] / 1_000
    assert 100_000 / quickest >= 2_000


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_a_sweep_with_nothing_due_over_a_million_live_rows_takes_under_50_ms(tmp_path: Path) -> None:
    """Each second, for ever: it asks an index, and nothing else."""
    took = sorted(sweep["seconds"] for sweep in sweeps(tmp_path, 1_000_000, "rows", 3 * 86_400, 11))
    print(f"nothing due over 1,000,000: {took}")
    assert took[len(took) // 2] < 0.05
