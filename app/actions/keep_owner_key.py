"""Store and return the depositor's wrapped key of a sealed transfer, which the vault's part is needed to open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.crypto import wrapping
from app.db import transfer_rows
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller, require_owner
from app.domain.errors import KeyAlreadySet, TransferNotSealed
from app.domain.transfer import require_open
from app.lifecycle import key_ring
from app.lifecycle.gate import require_open_for_intake, require_open_for_outflow
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class OwnerKey:
    """What the depositor's client needs besides its client key: the vault's part (32 bytes), and the wrapped key (60
    bytes; None until the client has stored it).
    """

    owner_part: bytes
    wrapped_key: bytes | None


def store_owner_key(resources: Resources, caller: Caller, transfer_id: str, wrapped_key: bytes) -> None:
    """Store the wrapped key, once. Raises TransferNotFound, TransferEnded, TransferNotSealed, KeyAlreadySet."""
    with resources.database.writing() as transaction:
        require_open_for_intake(resources, transaction.connection)
        found = transfer_rows.find(transaction.connection, transfer_id, for_update=True)
        transfer = _require_sealed(found, caller, resources.clock.now())
        if not transfer_rows.set_owner_wrap(transaction.connection, transfer.id, wrapped_key):
            raise KeyAlreadySet


def show_owner_key(resources: Resources, caller: Caller, transfer_id: str) -> OwnerKey:
    """Return the wrapped key and the vault's part. Raises TransferNotFound, TransferEnded, TransferNotSealed."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        require_open_for_outflow(resources, connection)
        transfer = _require_sealed(transfer_rows.find(connection, transfer_id), caller, now)
    shred_key = key_ring.shred_key_of(resources.vault, transfer, now)
    return OwnerKey(wrapping.owner_part(shred_key, transfer.id), transfer.owner_wrap)


def _require_sealed(found: TransferRow | None, caller: Caller, now: datetime) -> TransferRow:
    transfer = require_owner(found, caller)
    require_open(transfer.state, transfer.expires_at, now)
    if not transfer.sealed:
        raise TransferNotSealed
    return transfer
