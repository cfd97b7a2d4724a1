"""End shares and transfers, each with its log entry, inside the caller's transaction.

Requests and sweeps end them the same way: this module marks the rows and drops their wrapped keys; the caller destroys
the returned vault keys after the commit. If it dies in between, the sweeper finds them: `keys_destroyed_at` is empty
until the destruction was verified.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from app.db import file_rows, share_rows, transfer_rows, upload_rows
from app.db.engine import Transaction
from app.db.share_rows import ShareRow
from app.db.transfer_rows import Expiry, TransferRow
from app.domain import share as share_rules
from app.domain.audit_events import Entry, Event
from app.domain.share import ShareState
from app.domain.transfer import Ending
from app.domain.vault_entry import EntryName

_SHARE_EVENTS = {
    ShareState.COMPLETED: Event.SHARE_COMPLETED,
    ShareState.LAPSED: Event.SHARE_LAPSED,
    ShareState.WITHDRAWN: Event.SHARE_WITHDRAWN,
    ShareState.LOCKED: Event.SHARE_LOCKED,
    ShareState.EXPIRED: Event.SHARE_EXPIRED,
}


def end_share(
    transaction: Transaction,
    share: ShareRow,
    state: ShareState,
    *,
    now: datetime,
    actor: str,
    address: str | None = None,
) -> list[EntryName]:
    """End a share, and its transfer too if no other recipient awaits it. Return the keys to destroy after the commit,
    none if the share had already ended.
    """
    connection = transaction.connection
    transfer = transfer_rows.find(connection, share.transfer_id, for_update=True)
    if transfer is None or not share_rows.end(connection, [share.id], state, now):
        return []
    served = share_rows.bytes_served(connection, [share.id]).get(share.id)
    transaction.log(
        Entry(
            event=_SHARE_EVENTS[state],
            at=now,
            actor=actor,
            transfer=share.transfer_id,
            share=share.id,
            size=served,
            address=address,
        )
    )
    transfer_rows.bring_forward(connection, share.transfer_id, now)
    keys = _names(share.transfer_id, share.expires_at, share.id)
    states = share_rows.states_of(connection, share.transfer_id)
    if share_rules.ends_transfer_early(states, keep_until_expiry=transfer.keep_until_expiry):
        keys += deny_transfer(transaction, transfer, Ending.COMPLETED, now=now, actor=actor)
    return keys


def keys_not_observed_gone(share: ShareRow) -> list[EntryName]:
    """Return the keys of an ended share that its row does not record as destroyed, to destroy them again."""
    return [] if share.keys_destroyed_at else _names(share.transfer_id, share.expires_at, share.id)


_SHARES_END_AS = {Ending.EXPIRED: ShareState.EXPIRED}


def deny_transfer(
    transaction: Transaction, transfer: TransferRow, ending: Ending, *, now: datetime, actor: str
) -> list[EntryName]:
    """End a transfer and its open shares. Return the keys to destroy after the commit, none if it had already ended."""
    return deny_transfers(transaction, [transfer], ending, now=now, actor=actor)


def deny_transfers(
    transaction: Transaction, transfers: Sequence[TransferRow | Expiry], ending: Ending, *, now: datetime, actor: str
) -> list[EntryName]:
    """End many transfers with as many statements as one. Shares are read once no more can be issued."""
    connection = transaction.connection
    denied = transfer_rows.deny(connection, [transfer.id for transfer in transfers], ending, now)
    if not denied:
        return []
    _forget_files(connection, list(denied))
    shares = share_rows.of_transfers(connection, denied)
    shares_of: defaultdict[str, list[ShareRow]] = defaultdict(list)
    for share in shares:
        shares_of[share.transfer_id].append(share)
    state = _SHARES_END_AS.get(ending, ShareState.WITHDRAWN)
    ended = share_rows.end(connection, [share.id for share in shares], state, now)
    served = share_rows.bytes_served(connection, ended)
    keys: list[EntryName] = []
    for transfer in (transfer for transfer in transfers if transfer.id in denied):
        keys += _names(transfer.id, transfer.expires_at)
        # The vault knows which shares were claimed; their records go with the transfer, whenever the share ended.
        for share in shares_of[transfer.id]:
            keys += [name.of_claim for name in _names(transfer.id, share.expires_at, share.id)]
        for share in (share for share in shares_of[transfer.id] if share.id in ended):
            keys += _names(transfer.id, share.expires_at, share.id)
            transaction.log(
                Entry(
                    event=_SHARE_EVENTS[state],
                    at=now,
                    actor=actor,
                    transfer=transfer.id,
                    share=share.id,
                    size=served.get(share.id),
                )
            )
        transaction.log(
            Entry(event=Event.TRANSFER_DENIED, at=now, actor=actor, transfer=transfer.id, outcome=ending.value)
        )
    return keys


def _forget_files(connection: Connection, transfer_ids: list[str]) -> None:
    """Remove what is encrypted in rows: names, and the ends of unfinished uploads."""
    file_rows.strip(connection, transfer_ids)
    upload_rows.drop_of_transfers(connection, transfer_ids)


def _names(transfer_id: str, expires_at: datetime, share_id: str | None = None) -> list[EntryName]:
    """Return the key's name, or none if an altered row forms no valid name. The transfer still ends: the sweeper
    searches for its keys by transfer id.
    """
    try:
        return [EntryName(transfer_id, expires_at, share_id)]
    except ValueError:
        return []
