"""Before a sweep lets claims lapse: are recipients refused now, by the service itself? Then none lapses. Nor does a
claim that the vault could not record: it opens nothing yet, so its window has not begun.

The vault out of reach, a clock that is not trusted, a lockdown, a restored database: no recipient can do anything
about these, so the time counts for their windows (never past the expiry). It is kept in the database from the first
sweep that sees a refusal, so that a restart loses nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app.db import claim_windows, service_rows, share_rows
from app.db.share_rows import ClaimRow, ShareRow
from app.domain.claim import window_end
from app.domain.errors import ClaimEnded, Refusal, VaultOutOfReach
from app.lifecycle import claim_record
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


def without_unrecorded(
    resources: Resources, ending: list[tuple[ShareRow, ClaimRow]]
) -> list[tuple[ShareRow, ClaimRow]]:
    """Return those of these claims, whose windows are over, that the vault has recorded. The others get another window:
    their tokens may claim again as long as the transfer lives. With the vault out of reach, none ends.
    """
    try:
        waiting = [(share, claim) for share, claim in ending if _is_waiting(resources, share, claim)]
    except VaultOutOfReach:
        return []
    if not waiting:
        return ending
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        for share, claim in waiting:
            window = window_end(now, resources.settings.claim_window, share.expires_at)
            share_rows.reopen_window(transaction.connection, claim.id, window, now)
    return [pair for pair in ending if pair not in waiting]


def _is_waiting(resources: Resources, share: ShareRow, claim: ClaimRow) -> bool:
    try:
        return claim_record.is_unrecorded(resources.vault, share, claim)
    except ClaimEnded:  # a row that was changed so that it names no entry of a vault
        return False


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
