"""Withdraw a share: the depositor or an operator ends it, whether or not its recipient has claimed it."""

from __future__ import annotations

from dataclasses import dataclass

from app.db import share_rows, transfer_rows
from app.domain.access_token import Caller, cause_of, require_owner
from app.domain.audit_events import Reason
from app.domain.errors import ShareNotFound
from app.domain.share import ShareState
from app.lifecycle import endings
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class WithdrawnShare:
    """The state of a share after it was withdrawn, and whether its keys were destroyed; if not, the sweeper retries."""

    state: ShareState
    keys_destroyed: bool


def withdraw_share(
    resources: Resources, share_id: str, *, caller: Caller | None, reason: Reason | None = None
) -> WithdrawnShare:
    """Withdraw a share. Idempotent: one that has ended keeps its state. `caller` None is the operator. Raises
    ShareNotFound, also for others' shares.
    """
    now, cause = resources.clock.now(), cause_of(caller, reason)
    with resources.database.writing(cause) as transaction:
        share = share_rows.find(transaction.connection, share_id)
        if share is None:
            raise ShareNotFound
        require_owner(transfer_rows.find(transaction.connection, share.transfer_id), caller, refusal=ShareNotFound)
        keys = endings.end_share(transaction, share, ShareState.WITHDRAWN, now=now, actor=cause.actor)
        keys = keys or endings.keys_not_observed_gone(share)  # an earlier attempt may have failed to destroy them
        after = share_rows.find(transaction.connection, share_id)
    state = share.state if after is None else after.state
    return WithdrawnShare(state, keys_destroyed=resources.destroy_keys(keys))
