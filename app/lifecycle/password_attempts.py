"""The password attempts of a share: reserved before hashing, then returned or counted as wrong.

The last wrong password locks the share.
"""

from __future__ import annotations

from datetime import datetime

from app.db import share_rows, transfer_rows
from app.db.share_rows import ShareRow
from app.domain import share as share_rules
from app.domain.audit_events import Entry, Event
from app.domain.errors import Busy, ShareLocked, ShareNotFound, WrongPassword
from app.domain.share import ShareState
from app.lifecycle import endings
from app.lifecycle.claimable_share import FoundShare, LinkAndPassword, won_meanwhile
from app.runtime.resources import Resources


def reserve_attempt(resources: Resources, found: FoundShare, presented: LinkAndPassword) -> None:
    """Reserve an attempt before hashing. Raises Busy while all attempts are reserved but some are not yet judged;
    ShareLocked and the other ends. An attempt reserved over a minute ago died with its process and stays spent; if it
    was the last, the share is locked.
    """
    now = resources.clock.now()
    limit = resources.settings.password_attempts
    with resources.database.writing() as transaction:
        connection, share_id = transaction.connection, found.share.id
        if share_rows.reserve_attempt(connection, share_id, limit, now):
            return
        current = share_rows.find(connection, share_id)
        if current is None:
            raise ShareNotFound
        refusal = share_rules.refusal(current.state)
        redeemable = refusal is None or won_meanwhile(resources, connection, found, presented) is not None
        if redeemable and _being_judged(current, limit, now):
            raise Busy
        if current.state != ShareState.ISSUED:
            raise refusal or ShareNotFound()
        keys = endings.end_share(transaction, current, ShareState.LOCKED, now=now, actor="system")
    resources.destroy_keys(keys)
    raise ShareLocked


def _being_judged(share: ShareRow, limit: int, now: datetime) -> bool:
    """Return whether an attempt may still succeed: not all were wrong, and the last was reserved recently."""
    recent = share.attempted_at is not None and now - share.attempted_at < share_rules.STALE_ATTEMPT
    return recent and share.failures < limit


def return_attempt(resources: Resources, share: ShareRow) -> None:
    """Return a reserved attempt that was not spent, because the password was right or could not be checked."""
    with resources.database.writing() as transaction:
        share_rows.return_attempt(transaction.connection, share.id)


def count_wrong(resources: Resources, share: ShareRow, address: str, now: datetime) -> WrongPassword:
    """Count and log a wrong password, and lock the share after the last attempt. Return the refusal."""
    limit = resources.settings.password_attempts
    keys = []
    with resources.database.writing() as transaction:
        # Lock the transfer before the share, in the same order as code that ends them, to avoid a deadlock.
        transfer_rows.find(transaction.connection, share.transfer_id, for_update=True)
        failures = share_rows.count_failure(transaction.connection, share.id)
        transaction.log(
            Entry(
                event=Event.PASSWORD_WRONG,
                at=now,
                actor="recipient",
                transfer=share.transfer_id,
                share=share.id,
                address=address,
                count=failures,
            )
        )
        current = share_rows.find(transaction.connection, share.id)
        if failures >= limit and current and current.state == ShareState.ISSUED:
            keys = endings.end_share(transaction, share, ShareState.LOCKED, now=now, actor="recipient", address=address)
    resources.destroy_keys(keys)
    attempts = current.attempts if current else limit
    return WrongPassword(attempts_left=max(0, limit - attempts))
