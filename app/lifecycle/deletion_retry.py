"""Conclude a deletion batch: record and alert on failures, and schedule when each transfer is due again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from app.db import share_rows, transfer_rows, whole_transfers
from app.db.engine import Transaction
from app.db.transfer_rows import TransferRow
from app.db.whole_transfers import WholeTransfer
from app.domain.audit_events import Entry, Event
from app.domain.retention import FORGET_AFTER, RETRY_FIRST, retry_at
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.share import ShareState
from app.domain.transfer import OPEN_STATES
from app.lifecycle.deletion_case import Case, load_again
from app.runtime.resources import Resources

log = structlog.get_logger()


def settle(resources: Resources, cases: list[Case]) -> int:
    """Schedule the next attempt of every transfer in the batch; transfers verified in it are already scheduled. Return
    how many failed.
    """
    cases = [case for case in cases if not case.verified_now]
    if not cases:
        return 0
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        current = load_again(transaction.connection, cases)
        for case in (case for case in cases if case.failure):
            _note_failure(transaction, case, current[case.transfer.id], now)
        waiting = [case.transfer.id for case in cases if case.waiting and not case.failure]
        transfer_rows.postpone(transaction.connection, waiting, now + RETRY_FIRST)  # whether they failed before or not
        done = [case for case in cases if not case.failure and not case.waiting]
        old = [case.transfer.id for case in done if _is_to_forget(case.transfer, now)]
        due = {case.transfer.id: _next_due(case, current[case.transfer.id], now) for case in done}
        transfer_rows.note_success(transaction.connection, {one: at for one, at in due.items() if one not in old})
        if old:
            transfer_rows.forget_people(transaction.connection, old)
            share_rows.forget_people(transaction.connection, old)
    return sum(1 for case in cases if case.failure and not case.waiting)


def _note_failure(transaction: Transaction, case: Case, whole: WholeTransfer, now: datetime) -> None:
    """Record a failure, unless a stream is still being cut. A retry is never scheduled past the next due moment of
    `whole`, the transfer's current rows.
    """
    transfer = case.transfer
    overdue = now - (transfer.denied_at or now) > timedelta(seconds=10)
    if case.waiting and not overdue:
        transfer_rows.set_due(transaction.connection, transfer.id, now + RETRY_FIRST)
    else:
        _note_failed(transaction, transfer.id, case.failure, now, meanwhile=_due_moments(whole))


def give_up(resources: Resources, transfer_id: str, failure: str) -> None:
    """Record an attempt that raised. Only the id is required, since the rows may be unreadable."""
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        meanwhile = _due_moments_if_readable(transaction.connection, transfer_id)
        _note_failed(transaction, transfer_id, failure, now, meanwhile=meanwhile)


def _due_moments_if_readable(connection: Connection, transfer_id: str) -> list[datetime]:
    """Return the transfer's due moments, or none if its rows cannot be read."""
    try:
        wholes = whole_transfers.load(connection, transfer_rows.find_all(connection, [transfer_id]))
    except Exception:  # noqa: BLE001 - the failure is recorded whatever is wrong with the rows
        return []
    return [moment for whole in wholes for moment in _due_moments(whole)]


def _note_failed(
    transaction: Transaction,
    transfer_id: str,
    failure: str | None,
    now: datetime,
    *,
    meanwhile: Sequence[datetime],
) -> None:
    """Schedule a retry and alert in the service's log; the audit log records only the first failure."""
    failures = transfer_rows.count_failure(transaction.connection, transfer_id)
    again = min([retry_at(now, failures), *(moment for moment in meanwhile if moment > now)])
    transfer_rows.set_due(transaction.connection, transfer_id, again)
    if failures == 1:
        transaction.log(
            Entry(event=Event.DELETION_FAILED, at=now, actor="scheduler", transfer=transfer_id, outcome=failure)
        )
    log.error("deletion_failed", transfer=transfer_id, what=failure, failures=failures, alert=True)


def _is_to_forget(transfer: TransferRow, now: datetime) -> bool:
    return transfer.verified_at is not None and now >= transfer.verified_at + FORGET_AFTER


def _next_due(case: Case, whole: WholeTransfer, now: datetime) -> datetime:
    """Return when a transfer is due again. An open one: at its expiry or the end of a claim window or lease. One that a
    concurrent request ended, or one of its shares (`whole` holds the current rows): soon. A verified one: when its
    personal data is to be erased.
    """
    if case.transfer.verified_at is not None:
        return case.transfer.verified_at + FORGET_AFTER
    ended = any(share.state not in OPEN_SHARES and share.keys_destroyed_at is None for share in whole.shares)
    if whole.transfer.state not in OPEN_STATES or ended:
        return now + RETRY_FIRST
    # While the service refuses recipients, closed windows do not end their claims; due at once, they would never let
    # this sweep finish.
    windows = [window if window > now else now + RETRY_FIRST for window in _windows(whole)]
    return min([*_own_due_moments(whole), *windows])


def _due_moments(whole: WholeTransfer) -> list[datetime]:
    """Return the due moments of an open transfer; an ended one has none."""
    return [*_own_due_moments(whole), *_windows(whole)] if whole.transfer.state in OPEN_STATES else []


def _own_due_moments(whole: WholeTransfer) -> list[datetime]:
    return [whole.transfer.expires_at, *(file.lease_until for file in whole.files if file.lease_until)]


def _windows(whole: WholeTransfer) -> list[datetime]:
    claimed = {share.id for share in whole.shares if share.state == ShareState.CLAIMED}
    return [claim.window_until for claim in whole.claims if claim.share_id in claimed]
