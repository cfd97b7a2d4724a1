"""`python -m scheduler`: run the timetable until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
import sys
import threading

from app.runtime.harden import harden_process
from app.runtime.logs import set_up_logs
from app.runtime.separate_users import require_scheduler_user, umask_of
from app.runtime.settings import Settings
from scheduler.timetable import Timetable

PARENT_POLL_SECONDS = 1.0


def main() -> None:
    """Run the timetable. As a child of `serve`, whose pid is the first argument, stop when that process exits."""
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process(umask_of(settings))
    require_scheduler_user(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if len(sys.argv) > 1:
        threading.Thread(target=_stop_without_parent, args=(int(sys.argv[1]), stop), daemon=True).start()
    Timetable(settings).run(stop)


def _stop_without_parent(parent: int, stop: threading.Event) -> None:
    """Stop when the parent is gone. A killed parent sends no signal, and the next `serve` starts its own scheduler."""
    while not stop.wait(PARENT_POLL_SECONDS):
        if os.getppid() != parent:
            stop.set()


if __name__ == "__main__":
    main()
