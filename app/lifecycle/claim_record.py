"""Single use, as the key vault has it: the record of who claimed a share, which no change to the database undoes.

The database's conditional UPDATE picks the winner of a claim; the vault's record, made once by exclusive creation,
confirms it before anything is handed out (`record_claim`), and is read again on every way that leads to bytes
(`require_recorded`). It holds the digest of the claim token and goes with the transfer. A record that was lost is made
again for the claim that the log knows, and for no other (`require_unlogged`).
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
    """Record that `share` was claimed with `token` (32 bytes), durably; the same claim again changes nothing.

    Raises ShareUsed when another token was first, whatever the database says; ShareExpired, VaultOutOfReach.
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

    `record_claim` alone decides; this keeps the database from noting a claim that is lost already.
    """
    recorded = _recorded(vault, share, gone=ShareExpired)
    if recorded is not None and (token is None or not same(recorded, digest(token))):
        raise ShareUsed
    return recorded is not None


def claim_id_of(share: ShareRow, token: bytes) -> str:
    """Return the id (22 characters) of the claim of `share` with `token` (32 bytes): a digest, so that the log's entry
    of a claim says which token won it, without a word of the token.
    """
    return id_of(_CLAIM_ID + share.id.encode() + token)


def require_unlogged(connection: Connection, share: ShareRow, token: bytes) -> None:
    """Refuse a share that was claimed with another token by the log, whatever row and vault say: either may have been
    set back. Raises ShareUsed.
    """
    told = testimony_rows.told_of(connection, [share.transfer_id], [Event.SHARE_CLAIMED])[share.transfer_id]
    attested = told.shares.get(share.id)
    if attested is not None and attested.claim != claim_id_of(share, token):
        raise ShareUsed


def is_unrecorded(vault: KeyVault, share: ShareRow, claim: ClaimRow) -> bool:
    """Whether a claim was won in the database and never served, since the vault has no record of it: its window has
    not begun. Raises VaultOutOfReach, ClaimEnded for a row that names no entry of a vault.
    """
    if claim.delivered_at is not None or claim.bytes_served > 0:
        return False
    return _recorded(vault, share, gone=ClaimEnded) is None


def require_recorded(vault: KeyVault, share: ShareRow, token: bytes) -> None:
    """Refuse a claim token other than the recorded one: no row makes a claim. Raises ClaimNotFound, ClaimEnded,
    VaultOutOfReach.
    """
    recorded = _recorded(vault, share, gone=ClaimEnded)
    if recorded is None or not same(recorded, digest(token)):
        raise ClaimNotFound


def _record_of(share: ShareRow) -> EntryName:
    """Raises ValueError for a row with ids or an expiry that no entry of the vault has."""
    return EntryName(share.transfer_id, share.expires_at, share.id).of_claim


def _recorded(vault: KeyVault, share: ShareRow, *, gone: type[Refusal]) -> bytes | None:
    try:
        return vault.claim_recorded(_record_of(share))
    except ValueError:
        raise gone from None
    except StorageError as error:
        raise VaultOutOfReach from error
