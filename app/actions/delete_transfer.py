"""Delete a transfer now: it is denied and its keys are destroyed before this returns; the sweeper does the rest."""

from __future__ import annotations

from app.db import endings, transfer_rows
from app.domain.access_token import Caller
from app.domain.errors import TransferNotFound
from app.domain.transfer import Ending
from app.resources import Resources


def delete_transfer(
    resources: Resources, transfer_id: str, *, caller: Caller | None, ending: Ending = Ending.DELETED
) -> None:
    """Delete a transfer. Idempotent. `caller` None is the operator. Raises TransferNotFound, also for others'."""
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        transfer = transfer_rows.find(transaction.connection, transfer_id, for_update=True)
        if transfer is None or (caller is not None and transfer.token_id != caller.token_id):
            raise TransferNotFound
        actor = caller.actor if caller else "operator"
        keys = endings.deny_transfer(transaction, transfer, ending, now=now, actor=actor)
    resources.destroy_keys(keys)
