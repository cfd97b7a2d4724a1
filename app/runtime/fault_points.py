"""Places where a test can have the process die, as if by kill -9: between any two steps that must survive it. A test
in the same process can register a callback instead (`on_reach`).

`CADUCEE_FAULT=deposit.blob_committed` names one. Without the variable `reach` does nothing; no release sets it. What
comes before the crash passes the same places, so `CADUCEE_FAULT_ONCE` may name a file: nothing dies until it is there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POINTS = (
    "deposit.row_written",
    "deposit.key_stored",
    "deposit.file_row_written",
    "deposit.body_half",
    "deposit.body_written",
    "deposit.blob_committed",
    "deposit.file_finished",
    "share.row_written",
    "share.key_stored",
    "claim.attempt_reserved",
    "claim.key_opened",
    "claim.won",
    "claim.recorded",
    "complete.share_ended",
    "complete.keys_destroyed",
    "deletion.taken",
    "deletion.ended",
    "deletion.loaded",
    "deletion.keys_gone",
    "deletion.keys_noted",
    "deletion.bytes_gone",
    "deletion.verified",
    "deletion.settled",
)


_callbacks: dict[str, Callable[[], object]] = {}


def reach(point: str) -> None:
    """Die here if a test asked for it, or run the callback that it registered. Before it dies, the process writes the
    point to stderr, so that the test can tell that it was reached.
    """
    callback = _callbacks.get(point)
    if callback is not None:
        callback()
    if os.environ.get("CADUCEE_FAULT") == point and Path(os.environ.get("CADUCEE_FAULT_ONCE", "/")).exists():
        os.write(2, f"died at {point}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def on_reach(point: str, callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` whenever this process reaches `point` inside the block, in the thread that reaches it; what it
    raises is raised there. For tests only. Raises ValueError for an unknown point.
    """
    if point not in POINTS:
        raise ValueError(f"no fault point is called {point}")
    _callbacks[point] = callback
    try:
        yield
    finally:
        del _callbacks[point]
