"""Step 4 of a sealed file's life, second half: store the key that the depositor's client wrapped; the share can then
be claimed.

A single conditional UPDATE opens the share, as for claims. A share is opened once, which fixes its link and key.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.crypto.token import digest
from app.db import file_rows, share_rows, transfer_rows
from app.domain import share as share_rules
from app.domain.access_token import Caller, require_owner
from app.domain.audit_events import Entry, Event
from app.domain.errors import KeyAlreadySet, ShareNotFound, TransferNotSealed
from app.domain.share import ShareState
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.reply import LOCAL, Reply
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class ShareKey:
    """What opens a share, made by the depositor's client: `wrapped_key` (60 bytes) and `link_proof` (32 bytes)."""

    wrapped_key: bytes
    link_proof: bytes


def open_share(resources: Resources, caller: Caller, share_id: str, key: ShareKey, *, reply: Reply = LOCAL) -> None:
    """Open a prepared share. The server cannot check that the parts of the key match.

    Raises ShareNotFound (also for others' shares), TransferNotSealed, KeyAlreadySet; ShareExpired, ShareUsed,
    ShareWithdrawn or ShareLocked if the share has ended; ClientGone.
    """
    now = resources.clock.now()
    with resources.database.writing(caller.cause()) as transaction:
        connection = transaction.connection
        require_open_for_outflow(resources, connection)
        found = share_rows.find(connection, share_id)
        row = transfer_rows.find(connection, found.transfer_id, for_update=True) if found else None
        transfer = require_owner(row, caller, refusal=ShareNotFound)
        share = share_rows.find(connection, share_id)  # read again under the lock: it cannot end from here on
        if share is None:
            raise ShareNotFound
        if not transfer.sealed:
            raise TransferNotSealed
        _require_prepared(share_rules.state_shown(share.state, share.expires_at, now))
        reply.require_receiver()
        if not share_rows.open_prepared(connection, share.id, key.wrapped_key, digest(key.link_proof)):
            raise KeyAlreadySet
        held = file_rows.counts(connection, share.transfer_id)
        transaction.log(
            Entry(
                event=Event.SHARE_ISSUED,
                at=now,
                actor=caller.actor,
                transfer=share.transfer_id,
                share=share.id,
                files=held.files,
                size=held.size,
                expires_at=share.expires_at,
                sealed=True,
            )
        )


def _require_prepared(state: ShareState) -> None:
    if state in {ShareState.ISSUED, ShareState.CLAIMED}:
        raise KeyAlreadySet
    refusal = share_rules.refusal(state)
    if state != ShareState.PREPARED and refusal is not None:
        raise refusal
