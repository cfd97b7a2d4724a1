"""Small volumes that really become full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PIECE = 64 * 1024
FILLER = "filler"


@contextmanager
def volume(at: Path, *, size: str) -> Iterator[None]:
    """Mount a tmpfs. Skips loudly where that is not permitted, as in most containers."""
    at.mkdir(parents=True)
    at.chmod(0o700)
    options = f"size={size},mode=0700"
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", at], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"NO VOLUME CAN BE MOUNTED HERE, nothing was tested on a full one: {error!r}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def fill(volume: Path) -> None:
    """Write the file FILLER until the volume has no byte left."""
    with (volume / FILLER).open("ab", buffering=0) as file:
        for piece in (PIECE, 512, 1):
            while _append(file.fileno(), piece):
                pass


def _append(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, b"x" * size) > 0
    except OSError:
        return False
