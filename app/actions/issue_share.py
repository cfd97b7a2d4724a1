"""Step 4 of a file's life: give one recipient the right to fetch a transfer once, by a link and a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app import key_ring
from app.crypto import wrapping
from app.crypto.password import new_password, new_salt
from app.crypto.token import digest, new_id, new_secret
from app.db import endings, share_rows, transfer_rows
from app.db.share_rows import ShareRow
from app.db.transfer_rows import FileRow, TransferRow
from app.domain.access_token import Caller
from app.domain.audit_events import Entry, Event
from app.domain.errors import (
    InvalidRequest,
    TransferEmpty,
    TransferIsSealed,
    TransferNotFound,
    UploadUnfinished,
    VaultOutOfReach,
)
from app.domain.share import ShareState
from app.domain.shred_key import ShredKeyName
from app.domain.transfer import FileState, checked_free_text, require_open
from app.fault_points import reach
from app.gate import require_open_for_outflow
from app.resources import Resources
from app.storage.errors import StorageError


@dataclass(frozen=True, slots=True)
class IssuedShare:
    """A share, with the link secret (32 bytes) and the password: shown once, kept nowhere."""

    id: str
    transfer_id: str
    link_secret: bytes
    password: str
    expires_at: datetime

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"IssuedShare({self.id})"


async def issue_share(
    resources: Resources, caller: Caller, *, transfer_id: str, client_key: bytes, recipient: str
) -> IssuedShare:
    """Issue a share, and close the transfer for new files with the first one.

    Raises TransferNotFound, TransferEnded, TransferEmpty, UploadUnfinished, WrongClientKey, InvalidRequest, Busy.
    """
    named = checked_free_text(recipient, field="recipient")
    if named is None:
        raise InvalidRequest("recipient: who is this for?")
    transfer, keys = await resources.in_thread(_open, resources, caller, transfer_id, client_key)
    password, salt = new_password(), new_salt()
    async with resources.issuing.turn():
        stretched = await resources.issuing.stretch(password, salt, resources.settings.argon2)
    share_id, link_secret, share_shred_key = new_id(), new_secret(), new_secret()
    server_part = wrapping.server_part(stretched, keys.shred_key, share_shred_key, share_id)
    share_key = wrapping.share_key(link_secret, server_part, share_id)
    parameters = resources.settings.argon2
    row = ShareRow(
        id=share_id,
        transfer_id=transfer.id,
        recipient=named,
        state=ShareState.ISSUED,
        issued_at=resources.clock.now(),
        expires_at=transfer.expires_at,
        link_proof_digest=digest(wrapping.link_proof(link_secret)),
        verifier_digest=digest(wrapping.verifier(stretched, share_id)),
        argon2_salt=salt,
        argon2_time=parameters.time,
        argon2_memory_kib=parameters.memory_kib,
        argon2_lanes=parameters.lanes,
        wrapped_key=wrapping.wrap_for_share(
            keys.transfer_key, share_key=share_key, transfer_id=transfer.id, share_id=share_id
        ),
        attempts=0,
        failures=0,
        attempted_at=None,
        used_at=None,
        ended_at=None,
        keys_destroyed_at=None,
    )
    await resources.in_thread(_store, resources, caller, row, share_shred_key)
    return IssuedShare(share_id, transfer.id, link_secret, password, row.expires_at)


def _open(
    resources: Resources, caller: Caller, transfer_id: str, client_key: bytes
) -> tuple[TransferRow, key_ring.OwnerKeys]:
    """The transfer and its keys, by the depositor's client key."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        found = transfer_rows.find(connection, transfer_id)
        files = transfer_rows.files_of(connection, [found.id]) if found else []
    transfer = _require_shareable(found, files, caller, now)
    return transfer, key_ring.open_for_owner(resources.vault, transfer, client_key, now)


def _require_shareable(
    transfer: TransferRow | None, files: list[FileRow], caller: Caller, now: datetime
) -> TransferRow:
    if transfer is None or transfer.token_id != caller.token_id:
        raise TransferNotFound
    require_open(transfer.state, transfer.expires_at, now)
    if transfer.sealed:
        raise TransferIsSealed
    if any(file.state == FileState.RECEIVING for file in files):
        raise UploadUnfinished
    if not files:
        raise TransferEmpty
    return transfer


def _store(resources: Resources, caller: Caller, row: ShareRow, share_shred_key: bytes) -> None:
    """The row, then the vault, as for transfers: a share whose key did not get there cannot be claimed and is ended."""
    with resources.database.writing() as transaction:
        connection = transaction.connection
        require_open_for_outflow(resources, connection)
        transfer = transfer_rows.find(connection, row.transfer_id, for_update=True)
        files = transfer_rows.files_of(connection, [row.transfer_id])
        _require_shareable(transfer, files, caller, row.issued_at)
        transfer_rows.close(connection, row.transfer_id, row.issued_at)
        share_rows.create(connection, row)
        transaction.log(
            Entry(
                event=Event.SHARE_ISSUED,
                at=row.issued_at,
                actor=caller.actor,
                transfer=row.transfer_id,
                share=row.id,
                files=len(files),
                size=sum(file.size for file in files),
                expires_at=row.expires_at,
            )
        )
    reach("share.row_written")
    try:
        resources.vault.create(ShredKeyName(row.transfer_id, row.expires_at, row.id), share_shred_key)
        reach("share.key_stored")
    except StorageError as error:
        with resources.database.writing() as transaction:
            endings.end_share(transaction, row, ShareState.WITHDRAWN, now=resources.clock.now(), actor="system")
        raise VaultOutOfReach from error
