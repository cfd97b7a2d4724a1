"""Single use, enforced in the key vault: a record of who claimed a share, which no change to the database can undo.

The database's conditional UPDATE picks the winner of a claim. The vault's record, created exclusively, confirms it
before anything is served (`record_claim`) and is read again on every path that leads to bytes (`require_recorded`). The
record holds the digest of the claim token and is destroyed with the transfer. A lost record is recreated only for the
claim in the log (`require_unlogged`).
"""

from __future__ import annotations

from sqlalchemy import Connection

from app.crypto.token import digest, id_of, same
from app.db import testimony_rows
from app.db.share_rows import ClaimRow, ShareRow
from app.domain.audit_events import Event
from app.domain.errors import ClaimEnded, ClaimNotFound, Refusal, ShareExpired, ShareUsed, VaultOutOfReach
from app.domain.vault_entry import EntryName
from app.storage.errors import KeyGone, StorageError
from app.storage.key_vault import KeyVault

_CLAIM_ID = b"caducee/v1 claim id"


def record_claim(vault: KeyVault, share: ShareRow, token: bytes) -> None:
    """Durably record that `share` was claimed with `token` (32 bytes). Idempotent for the same token.

    Raises ShareUsed if another token is recorded, whatever the database contains; ShareExpired, VaultOutOfReach.
    """
    token_digest = digest(token)
    try:
        recorded = vault.record_claim(_record_of(share), token_digest)
    except (KeyGone, ValueError):
        raise ShareExpired from None
    except StorageError as error:
        raise VaultOutOfReach from error
    if not same(recorded, token_digest):
        raise ShareUsed


def require_unclaimed(vault: KeyVault, share: ShareRow, token: bytes | None) -> bool:
    """Refuse a share that is recorded as claimed with another token. Return whether it is recorded with this one.
    Raises ShareUsed, ShareExpired, VaultOutOfReach.

    `record_claim` alone decides; this check keeps the database from recording a claim that has already lost.
    """
    recorded = _recorded(vault, share, gone=ShareExpired)
    if recorded is not None and (token is None or not same(recorded, digest(token))):
        raise ShareUsed
    return recorded is not None


def claim_id_of(share: ShareRow, token: bytes) -> str:
    """Return the id (22 characters) of the claim of `share` with `token` (32 bytes). It is a digest, so the log entry
    identifies the winning token without revealing it.
    """
    return id_of(_CLAIM_ID + share.id.encode() + token)


def require_unlogged(connection: Connection, share: ShareRow, token: bytes) -> None:
    """Refuse a share that the log records as claimed with another token. Row and vault are not trusted here: either may
    have been rolled back. Raises ShareUsed.
    """
    testimony = testimony_rows.of_transfers(connection, [share.transfer_id], [Event.SHARE_CLAIMED])[share.transfer_id]
    attested = testimony.shares.get(share.id)
    if attested is not None and attested.claim != claim_id_of(share, token):
        raise ShareUsed


def is_unrecorded(vault: KeyVault, share: ShareRow, claim: ClaimRow) -> bool:
    """Return whether a claim was won in the database but never served and has no record in the vault: its window has
    not begun. Raises VaultOutOfReach, and ClaimEnded for a row whose values form no valid vault entry name.
    """
    if claim.delivered_at is not None or claim.bytes_served > 0:
        return False
    return _recorded(vault, share, gone=ClaimEnded) is None


def require_recorded(vault: KeyVault, share: ShareRow, token: bytes) -> None:
    """Refuse a claim token other than the recorded one: a database row alone never makes a claim. Raises ClaimNotFound,
    ClaimEnded, VaultOutOfReach.
    """
    recorded = _recorded(vault, share, gone=ClaimEnded)
    if recorded is None or not same(recorded, digest(token)):
        raise ClaimNotFound


def _record_of(share: ShareRow) -> EntryName:
    """Raise ValueError for a row whose ids or expiry form no valid vault entry name."""
    return EntryName(share.transfer_id, share.expires_at, share.id).of_claim


def _recorded(vault: KeyVault, share: ShareRow, *, gone: type[Refusal]) -> bytes | None:
    try:
        return vault.claim_recorded(_record_of(share))
    except ValueError:
        raise gone from None
    except StorageError as error:
        raise VaultOutOfReach from error
