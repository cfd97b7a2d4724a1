"""Find a share by its link and a claim by its token. An unknown id and a wrong secret get the same refusal at the same
cost.
"""

from __future__ import annotations

from sqlalchemy import Connection

from app.crypto.token import digest, same
from app.db import share_rows, transfer_rows
from app.db.share_rows import ClaimRow, ShareRow
from app.db.transfer_rows import TransferRow
from app.domain.errors import ClaimNotFound, ShareNotFound
from app.domain.share import ShareState
from app.runtime.resources import Resources

_NO_DIGEST = bytes(32)
"""Compared when there is no row, so that a comparison always takes place. No digest is all zeros."""


def find_by_proof(connection: Connection, share_id: str, link_proof: bytes) -> tuple[ShareRow, TransferRow]:
    """Return the share that this link proof (32 bytes) opens, in any state, and its transfer.

    Raises ShareNotFound for an unknown id, a wrong proof, and a share that has no link yet.
    """
    share = share_rows.find(connection, share_id)
    right = same(digest(link_proof), (share and share.link_proof_digest) or _NO_DIGEST)
    transfer = transfer_rows.find(connection, share.transfer_id) if share and right else None
    if share is None or transfer is None or share.state == ShareState.PREPARED:
        raise ShareNotFound
    return share, transfer


def note_link_seen(resources: Resources, share: ShareRow) -> None:
    """Record that somebody has the link of this share: a repeated deposit no longer replaces it."""
    if share.link_seen_at is None:
        with resources.database.writing() as transaction:
            share_rows.note_link_seen(transaction.connection, share.id, resources.clock.now())


def find_by_token(connection: Connection, claim_id: str, token: bytes) -> tuple[ClaimRow, ShareRow]:
    """Return the claim with this token (32 bytes) and its share, in any state.

    Raises ClaimNotFound for an unknown id and for a wrong token.
    """
    claim = share_rows.find_claim(connection, claim_id)
    right = same(digest(token), claim.token_digest if claim else _NO_DIGEST)
    share = share_rows.find(connection, claim.share_id) if claim and right else None
    if claim is None or share is None:
        raise ClaimNotFound
    return claim, share
