"""Tell whoever holds a link what it is and whether it still works. Redeems nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.crypto.token import digest, same
from app.db import share_rows, transfer_rows
from app.domain.errors import ShareNotFound
from app.domain.share import ShareState, state_shown
from app.runtime.resources import Resources

_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class ShareSeen:
    """What the holder of a link may know before the password."""

    state: ShareState
    label: str | None
    expires_at: datetime
    sealed: bool
    attempts_left: int
    used_at: datetime | None


def look_at_share(resources: Resources, share_id: str, link_proof: bytes) -> ShareSeen:
    """Look. Raises ShareNotFound, one and the same at the same cost, for an unknown share and for a wrong proof."""
    with resources.database.reading() as connection:
        share = share_rows.find(connection, share_id)
        right = same(digest(link_proof), (share and share.link_proof_digest) or _NO_DIGEST)
        transfer = transfer_rows.find(connection, share.transfer_id) if share and right else None
    if share is None or transfer is None or share.state == ShareState.PREPARED:
        raise ShareNotFound
    return ShareSeen(
        state=state_shown(share.state, share.expires_at, resources.clock.now()),
        label=transfer.label,
        expires_at=share.expires_at,
        sealed=transfer.sealed,
        attempts_left=max(0, resources.settings.password_attempts - share.attempts),
        used_at=share.used_at,
    )
