"""`python -m scheduler`: run the timetable until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading

from app.runtime.harden import harden_process
from app.runtime.logs import set_up_logs
from app.runtime.settings import Settings
from scheduler.timetable import Timetable

PARENT_POLL_SECONDS = 1.0


def main() -> None:
    """Run. As a child of `serve` (its pid in the first argument), stop when that is gone."""
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if len(sys.argv) > 1:
        threading.Thread(target=_stop_without_parent, args=(int(sys.argv[1]), stop), daemon=True).start()
    Timetable(settings).run(stop)


def _stop_without_parent(parent: int, stop: threading.Event) -> None:
    """A killed parent cannot say goodbye: an orphan would run beside the scheduler of the next `serve`."""
    while not stop.wait(PARENT_POLL_SECONDS):
        if os.getppid() != parent:
            stop.set()


if __name__ == "__main__":
    main()
