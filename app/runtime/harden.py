"""Process hardening at startup: no core dumps, private files, and malloc settings for streaming."""

from __future__ import annotations

import ctypes
import os
import resource

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def harden_process() -> None:
    """Disable core dumps (they would contain keys), make new files private, and tune malloc for streaming."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    _keep_memory()


def _keep_memory() -> None:
    """Keep freed memory in the process: once threads were used, glibc returns the memory of every body chunk to the
    kernel and faults it in again, which makes uploads two to three times slower. Other C libraries ignore this.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 64 << 20)
    mallopt(_M_TRIM_THRESHOLD, 256 << 20)
    mallopt(_M_TOP_PAD, 16 << 20)
