"""The memory of a process contains secrets in flight, so no process of the service leaves a core dump."""

import resource
from pathlib import Path

from tests.acceptance.service import until

CORE = "Max core file size"


def test_no_process_of_a_service_writes_a_core_dump(installation):
    """Neither the workers nor the scheduler, which `serve` starts as a new program, whatever limit they inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        with installation.serving("--workers", "2") as server:
            until(lambda: len(server.workers()) == 2)
            pids = {*server.workers(), server.scheduler(), server.process.pid}
            limits = {_limit(pid, CORE) for pid in pids if pid}
            assert len(pids) == 4
            assert limits == {"0"}
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def _limit(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(name)).removeprefix(name).split()[0]
