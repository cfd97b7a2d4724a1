"""The recipient has everything: end the share now, and the transfer with it when nobody else waits for that."""

from __future__ import annotations

from app.crypto.token import digest, same
from app.db import endings, share_rows
from app.domain.claim import end_at_window
from app.domain.errors import ClaimNotFound
from app.domain.share import ShareState
from app.fault_points import reach
from app.resources import Resources

_NO_DIGEST = bytes(32)


def complete_claim(resources: Resources, *, claim_id: str, token: bytes, address: str) -> None:
    """Complete a claim. Idempotent: completing what has ended changes nothing, whether or not a sweep has noted that
    end. Raises ClaimNotFound.
    """
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        claim = share_rows.find_claim(transaction.connection, claim_id)
        right = same(digest(token), claim.token_digest if claim else _NO_DIGEST)
        share = share_rows.find(transaction.connection, claim.share_id) if claim and right else None
        if claim is None or share is None:
            raise ClaimNotFound
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
