"""Step 4 of a file's life: issue a share, one recipient's right to fetch a transfer once with a link and a password.

The server cannot wrap the key of a sealed transfer. It only prepares the share; the depositor's client wraps the key
and then opens the share (`open_share.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from app.crypto import wrapping
from app.crypto.errors import MalformedSecret
from app.crypto.password import new_password, normalise
from app.crypto.token import digest, new_id, new_secret
from app.db import file_rows, share_rows, transfer_rows
from app.db.file_rows import FileCounts
from app.db.share_rows import ShareRow
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller, require_owner
from app.domain.audit_events import Entry, Event
from app.domain.errors import (
    ClientKeyRequired,
    InvalidRequest,
    MalformedPassword,
    OwnerKeyMissing,
    ShareWithdrawn,
    TooManyShares,
    TransferEmpty,
    TransferEnded,
    TransferIsSealed,
    TransferNotSealed,
    UploadUnfinished,
    VaultOutOfReach,
)
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.share import ShareState
from app.domain.transfer import OPEN_STATES as OPEN_TRANSFERS
from app.domain.transfer import checked_free_text, require_open
from app.domain.vault_entry import EntryName
from app.lifecycle import endings, key_ring
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.hashed_password import HashedPassword, hash_password
from app.lifecycle.repetition import Result
from app.lifecycle.reply import LOCAL, Reply
from app.runtime.fault_points import reach
from app.runtime.hashing_queue import Place
from app.runtime.resources import Resources
from app.storage.errors import StorageError


@dataclass(frozen=True, slots=True)
class NewShare:
    """A share to be made: of which transfer, and for whom, as the depositor names the recipient. With a reserved place
    in the issuing queue it is never Busy.
    """

    transfer_id: str
    recipient: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class IssuedShare:
    """A share with its link secret (32 bytes) and password. Both are shown once and stored nowhere."""

    id: str
    transfer_id: str
    link_secret: bytes
    password: str
    expires_at: datetime

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"IssuedShare({self.id})"


@dataclass(frozen=True, slots=True, repr=False)
class PreparedShare:
    """A share of a sealed transfer. It cannot be claimed until the depositor's client has wrapped the transfer key with
    `server_part` (32 bytes) and called `open_share`.
    """

    id: str
    server_part: bytes
    expires_at: datetime


async def issue_share(
    resources: Resources, caller: Caller, asked: NewShare, *, client_key: bytes | None, reply: Reply = LOCAL
) -> IssuedShare:
    """Issue a share. The first share closes the transfer to new files.

    Raises TransferNotFound, TransferEnded, TransferIsSealed, TransferEmpty, UploadUnfinished, TooManyShares,
    ClientKeyRequired, WrongClientKey, InvalidRequest, VaultOutOfReach, Busy, what `Reply.settle` raises, and
    ShareWithdrawn if it was withdrawn at once.
    """
    named = _checked(asked.recipient)
    transfer, keys = await resources.in_thread(_open, resources, caller, asked.transfer_id, client_key)
    password, link_secret = new_password(), new_secret()
    hashed = await hash_password(resources, caller, password, asked.place)
    draft = _draft(resources, transfer, keys.shred_key, hashed, recipient=named)
    share_key = wrapping.share_key(link_secret, draft.server_part, draft.row.id)
    row = replace(
        draft.row,
        state=ShareState.ISSUED,
        link_proof_digest=digest(wrapping.link_proof(link_secret)),
        wrapped_key=wrapping.wrap_for_share(
            keys.transfer_key, share_key=share_key, transfer_id=transfer.id, share_id=draft.row.id
        ),
    )
    await resources.in_thread(_store, resources, caller, row, draft.share_shred_key, reply)
    return IssuedShare(row.id, transfer.id, link_secret, password, row.expires_at)


async def prepare_share(
    resources: Resources, caller: Caller, asked: NewShare, *, password: str, reply: Reply = LOCAL
) -> PreparedShare:
    """Prepare a share of a sealed transfer, with a `password` made by the depositor's client. The first share closes
    the transfer to new files.

    Raises TransferNotFound, TransferEnded, TransferNotSealed, TransferEmpty, UploadUnfinished, TooManyShares,
    OwnerKeyMissing, MalformedPassword, InvalidRequest, VaultOutOfReach, Busy, what `Reply.settle` raises, and
    ShareWithdrawn if it was withdrawn at once.
    """
    named = _checked(asked.recipient)
    try:
        normalised = normalise(password)
    except MalformedSecret:
        raise MalformedPassword from None
    transfer, shred_key = await resources.in_thread(_open_sealed, resources, caller, asked.transfer_id)
    hashed = await hash_password(resources, caller, normalised, asked.place)
    draft = _draft(resources, transfer, shred_key, hashed, recipient=named)
    await resources.in_thread(_store, resources, caller, draft.row, draft.share_shred_key, reply)
    return PreparedShare(draft.row.id, draft.server_part, draft.row.expires_at)


def _checked(recipient: str) -> str:
    named = checked_free_text(recipient, field="recipient")
    if named is None:
        raise InvalidRequest("recipient: name the recipient.")
    return named


def _open(
    resources: Resources, caller: Caller, transfer_id: str, client_key: bytes | None
) -> tuple[TransferRow, key_ring.OwnerKeys]:
    """Return the transfer and its keys, opened with the depositor's client key."""
    now = resources.clock.now()
    transfer = _find_shareable(resources, caller, transfer_id, now, sealed=False)
    if client_key is None:
        raise ClientKeyRequired
    return transfer, key_ring.open_for_owner(resources.vault, transfer, client_key, now)


def _open_sealed(resources: Resources, caller: Caller, transfer_id: str) -> tuple[TransferRow, bytes]:
    """Return the transfer and its shred key (32 bytes)."""
    now = resources.clock.now()
    transfer = _find_shareable(resources, caller, transfer_id, now, sealed=True)
    return transfer, key_ring.shred_key_of(resources.vault, transfer, now)


def _find_shareable(
    resources: Resources, caller: Caller, transfer_id: str, now: datetime, *, sealed: bool
) -> TransferRow:
    with resources.database.reading() as connection:
        transfer = _require_own(transfer_rows.find(connection, transfer_id), caller, now)
        _require_shareable(resources, connection, transfer, sealed=sealed)
    return transfer


def _require_own(found: TransferRow | None, caller: Caller, now: datetime) -> TransferRow:
    transfer = require_owner(found, caller)
    require_open(transfer.state, transfer.expires_at, now)
    return transfer


def _require_shareable(
    resources: Resources, connection: Connection, transfer: TransferRow, *, sealed: bool
) -> FileCounts:
    """Return the transfer's files, counted."""
    if transfer.sealed != sealed:
        raise TransferIsSealed if transfer.sealed else TransferNotSealed
    held = file_rows.counts(connection, transfer.id)
    if held.receiving:
        raise UploadUnfinished
    if not held.files:
        raise TransferEmpty
    if sealed and not held.are_contiguous:
        raise UploadUnfinished("An upload failed and was not repeated: the file numbers have a gap.")
    if transfer.owner_wrap is None:
        raise OwnerKeyMissing
    if share_rows.count_open(connection, transfer.id) >= resources.settings.max_shares:
        raise TooManyShares(max_shares=resources.settings.max_shares)
    return held


@dataclass(frozen=True, slots=True, repr=False)
class _Draft:
    """The row of a share that cannot be claimed yet, because its link and wrapped key are missing; the server's part of
    the share key, with which the key is wrapped; and the share's shred key, to be stored in the vault.
    """

    row: ShareRow
    server_part: bytes
    share_shred_key: bytes


def _draft(
    resources: Resources, transfer: TransferRow, shred_key: bytes, hashed: HashedPassword, *, recipient: str
) -> _Draft:
    parameters, stretched = hashed.parameters, hashed.stretched
    share_id, share_shred_key = new_id(), new_secret()
    row = ShareRow(
        id=share_id,
        transfer_id=transfer.id,
        recipient=recipient,
        state=ShareState.PREPARED,
        issued_at=resources.clock.now(),
        expires_at=transfer.expires_at,
        link_proof_digest=None,
        verifier_digest=digest(wrapping.verifier(stretched, share_id)),
        argon2_salt=hashed.salt,
        argon2_time=parameters.time,
        argon2_memory_kib=parameters.memory_kib,
        argon2_lanes=parameters.lanes,
        wrapped_key=None,
        attempts=0,
        failures=0,
        attempted_at=None,
        used_at=None,
        ended_at=None,
        keys_destroyed_at=None,
    )
    return _Draft(row, wrapping.server_part(stretched, shred_key, share_shred_key, share_id), share_shred_key)


def _store(resources: Resources, caller: Caller, row: ShareRow, share_shred_key: bytes, reply: Reply) -> None:
    """Write the row, then the vault, as for transfers. If the vault fails, the share cannot be claimed and is ended. If
    the share was ended before its key was stored, the key is destroyed.
    """
    with resources.database.writing(caller.cause()) as transaction:
        connection, now = transaction.connection, resources.clock.now()  # not as read before hashing, which takes long
        require_open_for_outflow(resources, connection)
        reply.lock(transaction, row.transfer_id)
        found = transfer_rows.find(connection, row.transfer_id, for_update=True)
        transfer = _require_own(found, caller, now)
        prepared = row.state == ShareState.PREPARED
        held = _require_shareable(resources, connection, transfer, sealed=prepared)
        transfer_rows.close(connection, row.transfer_id, now)
        share_rows.create(connection, replace(row, issued_at=now))
        replaced = reply.settle(transaction, Result(row.transfer_id, row.id, now), caller)
        transaction.log(
            Entry(
                event=Event.SHARE_PREPARED if prepared else Event.SHARE_ISSUED,
                at=now,
                actor=caller.actor,
                transfer=row.transfer_id,
                share=row.id,
                files=held.files,
                size=held.size,
                expires_at=row.expires_at,
                sealed=transfer.sealed or None,
            )
        )
    reach("share.row_written")
    resources.destroy_keys(replaced)
    name = EntryName(row.transfer_id, row.expires_at, row.id)
    try:
        resources.vault.create(name, share_shred_key)
        reach("share.key_stored")
    except StorageError as error:
        with resources.database.writing() as transaction:
            endings.end_share(transaction, row, ShareState.WITHDRAWN, now=resources.clock.now(), actor="system")
        raise VaultOutOfReach from error
    _require_still_open(resources, name, row.id)


def _require_still_open(resources: Resources, name: EntryName, share_id: str) -> None:
    """Destroy the key and refuse if the share was ended meanwhile: the code that ended it destroyed the
    keys that existed then, and does not return for this one.
    """
    with resources.database.reading() as connection:
        share = share_rows.find(connection, share_id)
    if share is None or share.state not in OPEN_SHARES:
        resources.destroy_keys([name])
        with resources.database.reading() as connection:
            transfer = transfer_rows.find(connection, name.transfer_id)
        if transfer is None or transfer.state not in OPEN_TRANSFERS:
            raise TransferEnded("The transfer ended while the share was being issued.")
        raise ShareWithdrawn
