"""Log the downloads that were counted and not logged one by one (`app.runtime.fetch_log.py`)."""

from __future__ import annotations

from app.runtime.resources import Resources


def log_fetches(resources: Resources, *, all_of_them: bool = False) -> int:
    """Log downloads that have waited for a minute, or all of them when the process ends. Return how many entries."""
    entries = resources.fetches.take(resources.clock.now(), all_of_them=all_of_them)
    if entries:
        with resources.database.writing() as transaction:
            transaction.log(*entries)
    return len(entries)
