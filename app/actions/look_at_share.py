"""Show the holder of a link its share and whether it can still be claimed. Redeems nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.db import audit_queries, file_rows
from app.db.transfer_rows import TransferRow
from app.domain.share import ShareState, state_shown
from app.domain.transfer import TransferState
from app.lifecycle.secret_lookup import find_by_proof, note_link_seen
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class ShareView:
    """The properties of a share that are shown to the holder of its link before the password is entered.

    `size` in bytes, of all files. `recipient` is None if the settings hide it, or once it was forgotten. `destroyed_at`
    is when the service observed that no key and no byte of the transfer was left, by the log's entry; None before.
    """

    state: ShareState
    label: str | None
    recipient: str | None
    files: int
    size: int
    expires_at: datetime
    sealed: bool
    attempts_left: int
    used_at: datetime | None
    destroyed_at: datetime | None


def look_at_share(resources: Resources, share_id: str, link_proof: bytes) -> ShareView:
    """Return the share. Raises ShareNotFound, at the same cost, for an unknown share and for a wrong proof."""
    with resources.database.reading() as connection:
        share, transfer = find_by_proof(connection, share_id, link_proof)
        held = file_rows.counts(connection, transfer.id)
        destroyed_at = _destroyed_at(connection, transfer)
    note_link_seen(resources, share)
    return ShareView(
        state=state_shown(share.state, share.expires_at, resources.clock.now()),
        label=transfer.label,
        recipient=share.recipient if resources.settings.show_recipient else None,
        files=held.files,
        size=held.size,
        expires_at=share.expires_at,
        sealed=transfer.sealed,
        attempts_left=max(0, resources.settings.password_attempts - share.attempts),
        used_at=share.used_at,
        destroyed_at=destroyed_at,
    )


def _destroyed_at(connection: Connection, transfer: TransferRow) -> datetime | None:
    """Return the time in the log's entry of the verified deletion; the row alone is not trusted."""
    if transfer.state != TransferState.VERIFIED:
        return None
    entry = audit_queries.find_deletion(connection, transfer.id)
    return entry.logged_at() if entry else None
