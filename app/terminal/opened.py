"""The service's stores, opened for one command by the service's user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.harden import harden_process
from app.logs import set_up_logs
from app.resources import Resources, open_resources
from app.settings import Settings


@contextmanager
def opened() -> Iterator[Resources]:
    """Open what the settings name; close it afterwards."""
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process()
    resources = open_resources(settings)
    try:
        yield resources
    finally:
        resources.close()
