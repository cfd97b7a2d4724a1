"""Before a sweep lets claims lapse: are recipients refused now, by the service itself? Then none lapses.

The vault out of reach, a clock that is not trusted, a lockdown, a restored database: no recipient can do anything
about these, so the time counts for their windows (never past the expiry). It is kept in the database from the first
sweep that sees a refusal, so that a restart loses nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app.db import claim_windows, service_rows
from app.domain.errors import Refusal
from app.lifecycle.gate import require_open_for_outflow
from app.runtime.resources import Resources
from app.storage.errors import StorageError

ADD_EVERY = timedelta(seconds=10)
"""How often windows are moved while a refusal lasts; whoever reads a claim adds the rest."""
SEEN_WITHIN = timedelta(seconds=1)
"""A refusal began at most this long before a sweep saw it."""


def add_refused_time(resources: Resources) -> None:
    """Note whether recipients are refused now, and move the windows of open claims on by what they lost so far."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        since = service_rows.refused_since(connection)
    refused = _refuses(resources)
    if since is None and refused:
        _note(resources, None, now - SEEN_WITHIN)
    elif since is not None and (not refused or now - since >= ADD_EVERY):
        _note(resources, since, now if refused else None, lost=now - since)


def _refuses(resources: Resources) -> bool:
    """Whether a recipient who asks now is refused for a reason of the service's own."""
    try:
        with resources.database.reading() as connection:
            require_open_for_outflow(resources, connection)
            own_id = service_rows.get(connection).installation_id
        return resources.vault.installation() != own_id
    except (Refusal, StorageError):
        return True


def _note(
    resources: Resources, before: datetime | None, after: datetime | None, *, lost: timedelta = timedelta(0)
) -> None:
    """Of several sweepers one adds the time: who replaces what both read."""
    with resources.database.writing() as transaction:
        if service_rows.replace_refused_since(transaction.connection, before, after) and lost > timedelta(0):
            claim_windows.add_refused(transaction.connection, lost)
