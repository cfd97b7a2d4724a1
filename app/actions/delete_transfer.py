"""Delete a transfer now: it is denied and its keys are destroyed before this returns; the sweeper does the rest.

An operator can also delete a transfer that has ended according to its rows, if the log or the vault contradicts them:
the deletion starts again and is verified by the transfer's id.
"""

from __future__ import annotations

from app.db import testimony_rows, transfer_rows, whole_transfers
from app.db.engine import Transaction
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Caller, cause_of, require_owner
from app.domain.audit_events import OPERATOR, Entry, Event, Reason
from app.domain.testimony import FACTS
from app.domain.transfer import OPEN_STATES, Ending, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle import endings
from app.lifecycle.contradictions import names_to_look_for
from app.lifecycle.witnesses import compare_one
from app.runtime.resources import Resources
from app.storage.errors import StorageError


def delete_transfer(
    resources: Resources,
    transfer_id: str,
    *,
    caller: Caller | None,
    ending: Ending = Ending.DELETED,
    reason: Reason | None = None,
) -> bool:
    """Delete a transfer. Idempotent. `caller` None is the operator. Return whether its keys were destroyed; if not, the
    sweeper retries. Raises TransferNotFound, also for others' transfers.
    """
    now = resources.clock.now()
    contradicted = caller is None and _is_contradicted(resources, transfer_id)
    with resources.database.writing(cause_of(caller, reason)) as transaction:
        transfer = require_owner(transfer_rows.find(transaction.connection, transfer_id, for_update=True), caller)
        keys = set[EntryName]()
        if transfer.state in {*OPEN_STATES, TransferState.DENIED} or contradicted:  # denied: an attempt may have failed
            keys = _names(transaction, transfer)
        if transfer.state in OPEN_STATES:
            actor = cause_of(caller).actor
            keys.update(endings.deny_transfer(transaction, transfer, ending, now=now, actor=actor))
        elif contradicted:
            transfer_rows.deny_again(transaction.connection, transfer_id, ending, now)
            again = Entry(Event.TRANSFER_DENIED, at=now, actor=OPERATOR, transfer=transfer_id, outcome=ending.value)
            transaction.log(again)
    return resources.destroy_keys(keys)


def _is_contradicted(resources: Resources, transfer_id: str) -> bool:
    """Return whether log or vault contradict the rows. A vault out of reach does not, and delays no deletion."""
    try:
        return bool(compare_one(resources, transfer_id))
    except StorageError:
        return False


def _names(transaction: Transaction, transfer: TransferRow) -> set[EntryName]:
    """Return the key names in rows and log; the sweeper finds keys under other names by the transfer's id."""
    (whole,) = whole_transfers.load(transaction.connection, [transfer])
    testimonies = testimony_rows.of_transfers(transaction.connection, [transfer.id], FACTS)
    return names_to_look_for(whole, testimonies[transfer.id])
