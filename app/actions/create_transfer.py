"""Step 1 of a file's life, first half: open a transfer with its keys, ready to receive files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.crypto import wrapping
from app.crypto.token import new_id, new_secret
from app.db import transfer_rows
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller
from app.domain.audit_events import Entry, Event
from app.domain.errors import InvalidRequest, VaultOutOfReach
from app.domain.transfer import MAX_RECORDS, Ending, TransferState, checked_free_text
from app.domain.vault_entry import EntryName
from app.lifecycle import endings
from app.lifecycle.gate import require_open_for_transfers
from app.lifecycle.repetition import Result
from app.lifecycle.reply import LOCAL, Reply
from app.runtime.fault_points import reach
from app.runtime.resources import Resources
from app.storage.errors import StorageError


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """A depositor's options for a transfer; None means the default."""

    lifetime: timedelta | None = None
    label: str | None = None
    purpose: str | None = None
    records: int | None = None
    keep_until_expiry: bool = False


@dataclass(frozen=True, slots=True)
class CreatedTransfer:
    """A transfer open for files. `client_key` (32 bytes) is stored nowhere."""

    id: str
    client_key: bytes
    expires_at: datetime

    def __repr__(self) -> str:
        """Without the key."""
        return f"CreatedTransfer({self.id})"


@dataclass(frozen=True, slots=True, repr=False)
class CreatedSealedTransfer:
    """A sealed transfer open for blobs. `owner_part` (32 bytes) is the vault's part of the depositor's key."""

    id: str
    owner_part: bytes
    expires_at: datetime


def create_transfer(
    resources: Resources,
    caller: Caller,
    options: TransferOptions,
    *,
    client_key: bytes | None = None,
    reply: Reply = LOCAL,
) -> CreatedTransfer:
    """Open a transfer. Raises LifetimeOutOfRange, InvalidRequest, VaultOutOfReach, and the errors of
    `require_open_for_transfers` and `Reply.settle`.
    """
    transfer_id, transfer_key, shred_key = new_id(), new_secret(), new_secret()
    client_key = client_key or new_secret()
    owner_key = wrapping.owner_key(client_key, wrapping.owner_part(shred_key, transfer_id), transfer_id)
    owner_wrap = wrapping.wrap_for_owner(transfer_key, owner_key=owner_key, transfer_id=transfer_id)
    row = _row(resources, caller, options, transfer_id=transfer_id, owner_wrap=owner_wrap)
    _store(resources, row, caller, shred_key, reply)
    return CreatedTransfer(transfer_id, client_key, row.expires_at)


def create_sealed_transfer(
    resources: Resources, caller: Caller, options: TransferOptions, *, reply: Reply = LOCAL
) -> CreatedSealedTransfer:
    """Open a transfer whose key only the depositor's client knows. Raises the errors of `create_transfer`."""
    transfer_id, shred_key = new_id(), new_secret()
    row = _row(resources, caller, options, transfer_id=transfer_id, owner_wrap=None)
    _store(resources, row, caller, shred_key, reply)
    return CreatedSealedTransfer(transfer_id, wrapping.owner_part(shred_key, transfer_id), row.expires_at)


def _row(
    resources: Resources, caller: Caller, options: TransferOptions, *, transfer_id: str, owner_wrap: bytes | None
) -> TransferRow:
    """Build the row. Without a depositor's wrap the transfer is sealed; the client stores the wrap later."""
    now = resources.clock.now()
    purposes = resources.settings.purposes
    if options.purpose is not None and options.purpose not in purposes:
        raise InvalidRequest(f"purpose: one of {', '.join(purposes)}." if purposes else "purpose: none is configured.")
    if options.records is not None and not 0 <= options.records <= MAX_RECORDS:
        raise InvalidRequest("records: a count of people, 0 or more.")
    expires_at = resources.settings.lifetimes.expiry(options.lifetime, now)
    return TransferRow(
        id=transfer_id,
        token_id=caller.token_id,
        state=TransferState.RECEIVING,
        sealed=owner_wrap is None,
        created_at=now,
        expires_at=expires_at,
        closed_at=None,
        keep_until_expiry=options.keep_until_expiry,
        label=checked_free_text(options.label, field="label"),
        purpose=options.purpose,
        records=options.records,
        owner_wrap=owner_wrap,
        ending=None,
        denied_at=None,
        verified_at=None,
        due_at=expires_at,
        failures=0,
        owner=caller.owner,
        person=caller.person if caller.token_id is None else None,
    )


def _store(resources: Resources, row: TransferRow, caller: Caller, shred_key: bytes, reply: Reply) -> None:
    """Write the row, then the vault. A crash in between leaves a transfer that cannot be opened and expires."""
    replaced = _insert(resources, row, caller, reply)
    reach("deposit.row_written")
    resources.destroy_keys(replaced)
    try:
        resources.vault.create(EntryName(row.id, row.expires_at), shred_key)
        reach("deposit.key_stored")
    except StorageError as error:
        _deny(resources, row)
        raise VaultOutOfReach from error


def _insert(resources: Resources, row: TransferRow, caller: Caller, reply: Reply) -> list[EntryName]:
    with resources.database.writing(caller.cause()) as transaction:
        require_open_for_transfers(resources, transaction.connection)
        transfer_rows.create(transaction.connection, row)
        transaction.log(
            Entry(
                event=Event.TRANSFER_CREATED,
                at=row.created_at,
                actor=caller.actor,
                transfer=row.id,
                expires_at=row.expires_at,
                purpose=row.purpose,
                records=row.records,
                sealed=row.sealed,
                owner=row.owner,
            )
        )
        return reply.settle(transaction, Result(row.id, None, row.created_at), caller)


def _deny(resources: Resources, row: TransferRow) -> None:
    with resources.database.writing() as transaction:
        endings.deny_transfer(transaction, row, Ending.FAILED, now=resources.clock.now(), actor="system")
