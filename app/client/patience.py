"""How long a client goes on when the service cannot be reached: with growing pauses, or those that the service names,
while anything moves.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from app.client.errors import ServiceRefused, ServiceUnavailable

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0


class Patience:
    """Waits after failures that may pass; gives up `seconds` after the first one, unless something moved since."""

    def __init__(self, seconds: float, *, waiting: Callable[[float], None] = lambda _: None) -> None:
        """`waiting` is told each pause in seconds."""
        self._seconds, self._waiting = seconds, waiting
        self.renew()

    def renew(self) -> None:
        """Something moved: begin again with short pauses."""
        self._failing_since: float | None = None
        self._pause = FIRST_PAUSE

    def call(self, act: Callable[[], T], *, moves: bool = True) -> T:
        """Call until it succeeds, which is progress unless it `moves` nothing. Raises ServiceRefused if a failure is
        final, or once patience is over.
        """
        while True:
            try:
                result = act()
            except ServiceRefused as failure:
                self.wait_after(failure)
            else:
                if moves:
                    self.renew()
                return result

    def wait_after(self, failure: ServiceRefused) -> None:
        """Pause after a failure that may pass; raise any other, and this one once patience is over."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now  # what went well before took its time
        left = self._failing_since + self._seconds - now
        if not isinstance(failure, ServiceUnavailable) or left < 0:
            raise failure
        pause = min(LONGEST_PAUSE, max(self._pause, failure.retry_after_seconds), left + FIRST_PAUSE)
        self._waiting(pause)
        time.sleep(pause * random.uniform(1.0, 1.3))  # noqa: S311 - so that many clients do not come back at once
        self._pause *= 2
