"""Process hardening at startup: no core dumps, no debugger, private files, and malloc settings for streaming."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def harden_process(umask: int = 0o077) -> None:
    """Disable core dumps (they would contain keys) and debuggers, make new files private, and tune malloc.

    Every process must call this itself: execve(2) makes a process dumpable again.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _hide_memory()
    os.umask(umask)
    _keep_memory()


def _hide_memory() -> None:
    """Make the process undumpable: others of the same user cannot read its memory by ptrace(2) or /proc, and no core
    dump is piped to a program (RLIMIT_CORE does not prevent that). Linux only.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


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
