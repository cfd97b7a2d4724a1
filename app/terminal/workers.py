"""The web workers, each on a processor of its own.

A worker's event loop and its two threads for SQLite run one at a time: they hand the interpreter to each other, dozens
of times in a small deposit. From one processor to another each of these turns is a wake-up; on one it is not (a fifth
more deposits, docs/adr/0018-a-processor-per-worker.md).
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import cycle
from socket import socket
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess


def run_workers(app: str, *, workers: int, **options: Any) -> None:
    """Run uvicorn with so many workers, until it is told to stop. Raises SystemExit when it cannot start."""
    if workers == 1:
        uvicorn.run(app, workers=1, **options)
        return
    config = uvicorn.Config(app, workers=workers, **options)
    _Placed(config, [config.bind_socket()]).run()


class _Placed(Multiprocess):
    """Uvicorn's supervisor, which also says where a worker runs: where there is a worker for each processor. With fewer
    workers than processors the kernel chooses, as for everything else on such a machine.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._processors = usable if config.workers >= len(usable) else []

    def init_processes(self) -> None:
        super().init_processes()
        self._place()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        self._place()

    def _place(self) -> None:
        """Place the threads that run the event loops; what they start from then on stays with them (man 2
        sched_setaffinity). One that has just ended is replaced, and placed, at the next turn.
        """
        if not self._processors:
            return
        for process, processor in zip(self.processes, cycle(self._processors), strict=False):
            if process.pid is not None:
                with suppress(OSError):  # it ended; or a container forbids it, and the kernel chooses
                    os.sched_setaffinity(process.pid, {processor})
