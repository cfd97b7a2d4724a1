"""The party that the workers of a service saw last, and when they last saw another one. Workers share the CPU and the
database, so a party that is alone in its worker can still slow down others.

`serve` makes a small file that its workers map into memory. It holds two short digests of parties and four times,
nothing of a request. A worker that reads it while another one writes sees an older or a mixed state for a moment, which
does no harm.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from mmap import mmap
from pathlib import Path

VARIABLE = "CADUCEE_SERVE_PARTIES"
LEVELS = 2

_LEVEL = struct.Struct("=8sdd")
_NOBODY = _LEVEL.pack(bytes(8), float("-inf"), float("-inf"))


@contextmanager
def shared_by_workers() -> Iterator[None]:
    """Let the workers that start in this block share this memory."""
    with tempfile.NamedTemporaryFile(prefix="caducee-parties-") as file:
        file.write(_NOBODY * LEVELS)
        file.flush()
        os.environ[VARIABLE] = file.name
        yield


def open_memory() -> mmap | bytearray:
    """Return the memory that the workers share, or private memory in a process that `serve` did not start."""
    path = os.environ.get(VARIABLE)
    if path is None or not Path(path).is_file():
        return bytearray(_NOBODY * LEVELS)
    with Path(path).open("r+b") as file:
        return mmap(file.fileno(), _LEVEL.size * LEVELS)


class LastSeen:
    """The parties of one level, which are compared with each other. Times are monotonic seconds of this host."""

    def __init__(self, memory: mmap | bytearray, level: int) -> None:
        """`level`: the place in `memory`."""
        self._memory, self._offset = memory, level * _LEVEL.size

    def see(self, name: str, now: float) -> None:
        """Record that a party is active."""
        short = _short(name)
        last, last_at, other_at = _LEVEL.unpack_from(self._memory, self._offset)
        _LEVEL.pack_into(self._memory, self._offset, short, now, other_at if last == short else last_at)

    def beside(self, name: str) -> float:
        """Return when another party than this one was last seen."""
        last, last_at, other_at = _LEVEL.unpack_from(self._memory, self._offset)
        at: float = other_at if last == _short(name) else last_at
        return at


def _short(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()
