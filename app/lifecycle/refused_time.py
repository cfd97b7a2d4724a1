"""Extend claim windows by the time in which the service itself refuses recipients. Meanwhile no claim lapses, nor
does a claim that the vault could not record: it opens nothing yet, so its window has not begun.

Reasons are a vault out of reach, an untrusted clock, a lockdown and a restored database. Recipients cannot influence
these, so windows are extended by the lost time (never past the expiry). The start is stored in the database by the
first sweep that sees a refusal, so that it survives a restart.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from app.db import claim_windows, service_rows, share_rows
from app.db.service_rows import ServiceState
from app.db.share_rows import ClaimRow, ShareRow
from app.domain.claim import window_end
from app.domain.errors import ClaimEnded, Refusal, VaultOutOfReach
from app.lifecycle import claim_record
from app.lifecycle.gate import require_open_for_outflow
from app.runtime.resources import Resources
from app.storage.errors import StorageError

ADD_EVERY = timedelta(seconds=10)
"""Interval at which windows are extended during a refusal; code that reads a claim adds the remainder."""
SWEPT_ELSEWHERE = timedelta(minutes=1)
"""A scheduler with a wrong clock does not record its sweeps, so one recorded this recently was another's."""
SEEN_WITHIN = timedelta(seconds=1)
"""A refusal began at most this long before a sweep saw it."""


def add_refused_time(resources: Resources) -> None:
    """Record whether recipients are refused now, and extend the windows of open claims by the time lost so far."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        since = service_rows.refused_since(connection)
        if _only_this_host_refuses(resources, service_rows.get(connection)):
            return
    refused = _refuses(resources)
    if since is None and refused:
        _note(resources, None, now - SEEN_WITHIN)
    elif since is not None and (not refused or now - since >= ADD_EVERY):
        _note(resources, since, now if refused else None, lost=now - since)


def _only_this_host_refuses(resources: Resources, state: ServiceState) -> bool:
    """Return whether this host's clock is not trusted while the scheduler of another host sweeps: the time that it
    would add is wrong, and recipients are served elsewhere.
    """
    if state.database_clock is None or state.last_sweep_at is None:
        return False
    swept_lately = abs(state.database_clock - state.last_sweep_at) <= SWEPT_ELSEWHERE
    return swept_lately and resources.clock.judge(state.time).problem is not None


def without_unrecorded(
    resources: Resources, ending: list[tuple[ShareRow, ClaimRow]]
) -> list[tuple[ShareRow, ClaimRow]]:
    """Return the claims in `ending` that the vault has recorded. The others get another window: their tokens may claim
    again until the transfer ends. If the vault is out of reach, return none, so that no claim ends.
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
    except ClaimEnded:  # an altered row forms no valid vault entry name
        return False


def _refuses(resources: Resources) -> bool:
    """Return whether the service would refuse any recipient now."""
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
    """Replace the start of the refusal and add the lost time. The conditional replace lets one of several sweepers
    win.
    """
    with resources.database.writing() as transaction:
        if service_rows.replace_refused_since(transaction.connection, before, after) and lost > timedelta(0):
            claim_windows.add_refused(transaction.connection, lost)
