"""Withdraw a share: the depositor or an operator ends it, whether or not its recipient has claimed it."""

from __future__ import annotations

from app.db import share_rows, transfer_rows
from app.domain.access_token import Caller, require_owner
from app.domain.errors import ShareNotFound
from app.domain.share import ShareState
from app.lifecycle import endings
from app.runtime.resources import Resources


def withdraw_share(resources: Resources, share_id: str, *, caller: Caller | None) -> None:
    """Withdraw a share. Idempotent. `caller` None is the operator. Raises ShareNotFound, also for others' shares."""
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        share = share_rows.find(transaction.connection, share_id)
        if share is None:
            raise ShareNotFound
        require_owner(transfer_rows.find(transaction.connection, share.transfer_id), caller, refusal=ShareNotFound)
        actor = caller.actor if caller else "operator"
        keys = endings.end_share(transaction, share, ShareState.WITHDRAWN, now=now, actor=actor)
    resources.destroy_keys(keys)
