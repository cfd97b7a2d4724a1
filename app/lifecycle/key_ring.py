"""Unwrap a transfer key for its depositor, a share or a claim. Each needs the key vault.

Each function combines the caller's secret (client key; link secret and password; claim token) with the vault's shred
keys and unwraps. These refusals are cryptographic (G3): they hold even if every check in the calling code is bypassed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.crypto import wrapping
from app.crypto.errors import CannotDecrypt
from app.db.share_rows import ClaimRow, ShareRow
from app.db.transfer_rows import TransferRow
from app.domain.errors import (
    ClaimEnded,
    ClaimNotFound,
    Refusal,
    ShareExpired,
    TransferEnded,
    VaultOutOfReach,
    WrongClientKey,
    WrongPassword,
)
from app.domain.vault_entry import EntryName
from app.storage.errors import KeyGone, StorageError
from app.storage.key_vault import KeyVault


@dataclass(frozen=True, slots=True, repr=False)
class OwnerKeys:
    """Keys that a client key opens: the transfer key, and the transfer's shred key, which issuing shares needs."""

    transfer_key: bytes
    shred_key: bytes


def open_for_owner(vault: KeyVault, transfer: TransferRow, client_key: bytes, now: datetime) -> OwnerKeys:
    """Return the depositor's keys. Raises WrongClientKey, TransferEnded, VaultOutOfReach."""
    shred_key = shred_key_of(vault, transfer, now)
    owner_key = wrapping.owner_key(client_key, wrapping.owner_part(shred_key, transfer.id), transfer.id)
    try:
        wrapped = transfer.owner_wrap or b""
        transfer_key = wrapping.unwrap_for_owner(wrapped, owner_key=owner_key, transfer_id=transfer.id)
    except CannotDecrypt:
        raise WrongClientKey from None
    return OwnerKeys(transfer_key, shred_key)


def shred_key_of(vault: KeyVault, transfer: TransferRow, now: datetime) -> bytes:
    """Return the transfer's shred key from the vault. Raises TransferEnded, VaultOutOfReach."""
    return _held(vault, EntryName(transfer.id, transfer.expires_at), now, gone=TransferEnded)


def server_part(vault: KeyVault, share: ShareRow, stretched: bytes, now: datetime) -> bytes:
    """Return the server's part of a share key, released once the password was verified. Raises ShareExpired,
    VaultOutOfReach.
    """
    shreds = _shreds_of(vault, share, now, gone=ShareExpired)
    return wrapping.server_part(stretched, shreds.of_transfer, shreds.of_share, share.id)


def open_for_share(share: ShareRow, link_secret: bytes, server_part_: bytes) -> bytes:
    """Return the transfer key for a recipient. Raises WrongPassword, even if an earlier check wrongly passed."""
    share_key = wrapping.share_key(link_secret, server_part_, share.id)
    try:
        return wrapping.unwrap_for_share(
            share.wrapped_key or b"", share_key=share_key, transfer_id=share.transfer_id, share_id=share.id
        )
    except CannotDecrypt:
        raise WrongPassword from None


def wrap_for_claim(
    vault: KeyVault, share: ShareRow, *, claim_id: str, token: bytes, transfer_key: bytes, now: datetime
) -> bytes:
    """Return the transfer key wrapped under a claim's token, so that resuming needs no password. Raises ShareExpired,
    VaultOutOfReach.
    """
    shreds = _shreds_of(vault, share, now, gone=ShareExpired)
    return wrapping.wrap_for_claim(
        transfer_key,
        claim_key=wrapping.claim_key(token, shreds.of_transfer, shreds.of_share, claim_id),
        transfer_id=share.transfer_id,
        share_id=share.id,
        claim_id=claim_id,
    )


def open_for_claim(vault: KeyVault, share: ShareRow, claim: ClaimRow, token: bytes, now: datetime) -> bytes:
    """Return the transfer key for a claim. Raises ClaimNotFound, ClaimEnded, VaultOutOfReach."""
    shreds = _shreds_of(vault, share, now, gone=ClaimEnded)
    try:
        return wrapping.unwrap_for_claim(
            claim.wrapped_key or b"",
            claim_key=wrapping.claim_key(token, shreds.of_transfer, shreds.of_share, claim.id),
            transfer_id=claim.transfer_id,
            share_id=claim.share_id,
            claim_id=claim.id,
        )
    except CannotDecrypt:
        raise ClaimNotFound from None


@dataclass(frozen=True, slots=True, repr=False)
class _Shreds:
    """A share's shred keys from the vault: the transfer's and the share's own."""

    of_transfer: bytes
    of_share: bytes


def _shreds_of(vault: KeyVault, share: ShareRow, now: datetime, *, gone: type[Refusal]) -> _Shreds:
    return _Shreds(
        of_transfer=_held(vault, EntryName(share.transfer_id, share.expires_at), now, gone=gone),
        of_share=_held(vault, EntryName(share.transfer_id, share.expires_at, share.id), now, gone=gone),
    )


def _held(vault: KeyVault, name: EntryName, now: datetime, *, gone: type[Refusal]) -> bytes:
    try:
        return vault.open(name, now)
    except KeyGone:
        raise gone from None
    except StorageError as error:
        raise VaultOutOfReach from error
