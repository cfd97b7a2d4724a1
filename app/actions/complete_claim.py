"""Complete a claim once the recipient has everything: end the share, and its transfer if no other recipient awaits
it.
"""

from __future__ import annotations

from contextlib import suppress

from app.db import claim_windows
from app.domain.claim import end_at_window
from app.domain.errors import VaultOutOfReach
from app.domain.share import OPEN_STATES, ShareState
from app.lifecycle import claim_record, endings
from app.lifecycle.secret_lookup import find_by_token
from app.runtime.fault_points import reach
from app.runtime.resources import Resources


def complete_claim(resources: Resources, *, claim_id: str, token: bytes, address: str) -> None:
    """Complete a claim. Idempotent: completing an ended claim changes nothing, whether or not a sweep has recorded its
    end. A vault out of reach does not delay completion. Raises ClaimNotFound, also if the vault has no record of this
    claim.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        _, share = find_by_token(connection, claim_id, token)
    if share.state in OPEN_STATES and now < share.expires_at:
        with suppress(VaultOutOfReach):  # completion serves no data, so it never depends on the vault
            claim_record.require_recorded(resources.vault, share, token)
    with resources.database.writing() as transaction:
        claim, share = find_by_token(transaction.connection, claim_id, token)
        claim = claim_windows.with_refused(transaction.connection, claim, share.expires_at, now)
        if now >= share.expires_at:
            keys = endings.end_share(transaction, share, ShareState.EXPIRED, now=now, actor="system")
        elif now >= claim.window_until:
            keys = endings.end_share(transaction, share, end_at_window(claim.delivered_at), now=now, actor="system")
        else:
            keys = endings.end_share(
                transaction, share, ShareState.COMPLETED, now=now, actor="recipient", address=address
            )
    reach("complete.share_ended")
    resources.destroy_keys(keys)
    reach("complete.keys_destroyed")
