"""Fault points: places where a test can kill the process, as if by kill -9, between two steps that must survive it.

A test in the same process can register a callback instead (`on_reach`).

`CADUCEE_FAULT=deposit.blob_committed` selects one. Without the variable `reach` does nothing; no release sets it.
A test's set-up may pass the same point, so `CADUCEE_FAULT_ONCE` may name a file: the point is armed once it exists.
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
    "upload.row_written",
    "upload.part_held",
    "upload.blob_replaced",
    "upload.blob_suspended",
    "upload.part_released",
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
    """Run the callback registered for this point, or kill the process if a test selected it, after writing
    `died at <point>` to stderr for the test.
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
