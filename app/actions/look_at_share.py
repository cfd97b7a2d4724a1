"""Show the holder of a link its share and whether it can still be claimed. Redeems nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.domain.share import ShareState, state_shown
from app.lifecycle.secret_lookup import find_by_proof, note_link_seen
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class ShareView:
    """The properties of a share that are shown to the holder of its link before the password is entered."""

    state: ShareState
    label: str | None
    expires_at: datetime
    sealed: bool
    attempts_left: int
    used_at: datetime | None


def look_at_share(resources: Resources, share_id: str, link_proof: bytes) -> ShareView:
    """Return the share. Raises ShareNotFound, at the same cost, for an unknown share and for a wrong proof."""
    with resources.database.reading() as connection:
        share, transfer = find_by_proof(connection, share_id, link_proof)
    note_link_seen(resources, share)
    return ShareView(
        state=state_shown(share.state, share.expires_at, resources.clock.now()),
        label=transfer.label,
        expires_at=share.expires_at,
        sealed=transfer.sealed,
        attempts_left=max(0, resources.settings.password_attempts - share.attempts),
        used_at=share.used_at,
    )
