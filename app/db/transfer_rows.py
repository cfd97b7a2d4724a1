"""Rows of transfers.

`due_at` is when the sweeper must process a transfer next: at its expiry, the end of a claim window or an upload's
lease, or a retry. An index over it makes the check whether anything is due, which runs every second, a single lookup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from app.crypto.token import is_id
from app.db.any_of import any_of
from app.db.column_types import UtcTime
from app.db.tables import transfers
from app.domain.retention import FORGET_AFTER
from app.domain.transfer import ENDING_STATES, OPEN_STATES, Ending, TransferState


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A stored transfer. `due_at` None: the sweeper never needs to process it again."""

    id: str
    token_id: str | None
    state: TransferState
    sealed: bool
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    keep_until_expiry: bool
    label: str | None
    purpose: str | None
    records: int | None
    owner_wrap: bytes | None
    ending: Ending | None
    denied_at: datetime | None
    verified_at: datetime | None
    due_at: datetime | None
    failures: int
    owner: str
    person: str | None = None


class Expiry(NamedTuple):
    """The columns that determine whether a transfer must be denied."""

    id: str
    state: TransferState
    expires_at: datetime


COLUMNS = [transfers.c[name] for name in TransferRow.__dataclass_fields__]

# Statements of every deposit and download are built once: building one takes several times as long as running it.
_OF_ID = transfers.c.id == bindparam("of_id")
_FIND = select(*COLUMNS).where(_OF_ID)
_FIND_FOR_UPDATE = _FIND.with_for_update()
_INSERT = insert(transfers)
_SET_DUE = update(transfers).where(_OF_ID).values(due_at=bindparam("moment"))
_MOMENT = bindparam("moment", type_=UtcTime)
_MARK_LIVE = (
    update(transfers).where(_OF_ID, transfers.c.state.in_(OPEN_STATES)).values(state=TransferState.LIVE, due_at=_MOMENT)
)
_BRING_FORWARD = (
    update(transfers)
    .where(_OF_ID)
    .values(
        due_at=case(
            (transfers.c.due_at.is_(None), _MOMENT), (transfers.c.due_at > _MOMENT, _MOMENT), else_=transfers.c.due_at
        )
    )
)


def create(connection: Connection, row: TransferRow) -> None:
    """Insert a new transfer."""
    connection.execute(_INSERT, {name: getattr(row, name) for name in row.__dataclass_fields__})


def find(connection: Connection, transfer_id: str, *, for_update: bool = False) -> TransferRow | None:
    """Return the transfer with this id, or None. `for_update` locks the row until the transaction ends (PostgreSQL)."""
    if not is_id(transfer_id):  # a client may send anything, including NUL, which PostgreSQL rejects
        return None
    row = connection.execute(_FIND_FOR_UPDATE if for_update else _FIND, {"of_id": transfer_id}).first()
    return row_of(row) if row else None


def due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Return the ids of up to `limit` transfers that are due, longest due first. Rows that another sweeper has locked
    are skipped. Only ids are read, so that an unreadable row does not hide the others.
    """
    query = select(transfers.c.id).where(transfers.c.due_at <= now).order_by(transfers.c.due_at).limit(limit)
    return list(connection.execute(query.with_for_update(skip_locked=True)).scalars())


def expiries(connection: Connection, transfer_ids: Sequence[str]) -> list[Expiry]:
    """Return state and expiry of these transfers, ordered by id."""
    query = select(*(transfers.c[name] for name in Expiry._fields)).where(any_of(transfers.c.id, transfer_ids))
    rows = connection.execute(query.order_by(transfers.c.id))
    return [Expiry(transfer_id, TransferState(state), expires_at) for transfer_id, state, expires_at in rows]


def anything_due(connection: Connection, now: datetime) -> bool:
    """Return whether `due` would return anything. Runs every second, on one index."""
    return connection.execute(select(transfers.c.id).where(transfers.c.due_at <= now).limit(1)).first() is not None


def set_due(connection: Connection, transfer_id: str, due_at: datetime | None) -> None:
    """Set when the sweeper must process the transfer next; None means never again."""
    connection.execute(_SET_DUE, {"of_id": transfer_id, "moment": due_at})


def lock(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Lock these rows until the transaction ends, in order of id. On PostgreSQL an UPDATE of many rows locks them in
    the order of its plan, so that two could deadlock. On SQLite a write transaction holds the only lock already.
    """
    if connection.dialect.name == "postgresql" and len(transfer_ids) > 1:
        locked = select(transfers.c.id).where(any_of(transfers.c.id, transfer_ids)).order_by(transfers.c.id)
        connection.execute(locked.with_for_update())


def postpone(connection: Connection, transfer_ids: Sequence[str], due_at: datetime) -> None:
    """Make these transfers due at `due_at`, so that no other sweeper takes them before."""
    lock(connection, transfer_ids)
    connection.execute(update(transfers).where(any_of(transfers.c.id, transfer_ids)).values(due_at=due_at))


def bring_forward(connection: Connection, transfer_id: str, moment: datetime) -> None:
    """Make the transfer due at `moment`, unless it is due earlier."""
    connection.execute(_BRING_FORWARD, {"of_id": transfer_id, "moment": moment})


def mark_live(connection: Connection, transfer_id: str, due_at: datetime) -> None:
    """Mark an open transfer as live, once a file is durable, and set when it is due next."""
    connection.execute(_MARK_LIVE, {"of_id": transfer_id, "moment": due_at})


def close(connection: Connection, transfer_id: str, now: datetime) -> None:
    """Close the transfer to new files. A transfer that is already closed keeps its time."""
    connection.execute(
        update(transfers).where(transfers.c.id == transfer_id, transfers.c.closed_at.is_(None)).values(closed_at=now)
    )


def set_owner_wrap(connection: Connection, transfer_id: str, owner_wrap: bytes) -> bool:
    """Store the depositor's wrapped key, once. Return False if there is one already or the transfer has ended."""
    stored = connection.execute(
        update(transfers)
        .where(transfers.c.id == transfer_id, transfers.c.owner_wrap.is_(None), transfers.c.state.in_(OPEN_STATES))
        .values(owner_wrap=owner_wrap)
    )
    return stored.rowcount == 1


def deny(connection: Connection, transfer_ids: Sequence[str], ending: Ending, now: datetime) -> set[str]:
    """End these transfers: no request can open them any more, their wrapped keys are removed, and they are due now for
    the sweeper. Return the ids of those that were open. Transfers end only here.
    """
    lock(connection, transfer_ids)
    denied = (
        update(transfers)
        .where(any_of(transfers.c.id, transfer_ids), transfers.c.state.in_(OPEN_STATES))
        .values(state=TransferState.DENIED, ending=ending, denied_at=now, owner_wrap=None, due_at=now, failures=0)
    )
    return set(connection.execute(denied.returning(transfers.c.id)).scalars())


def find_all(connection: Connection, transfer_ids: Sequence[str], *, for_update: bool = False) -> list[TransferRow]:
    """Return these transfers, ordered by id. `for_update` locks the rows until the transaction ends (PostgreSQL)."""
    query = select(*COLUMNS).where(any_of(transfers.c.id, transfer_ids)).order_by(transfers.c.id)
    return [row_of(row) for row in connection.execute(query.with_for_update() if for_update else query)]


_BEFORE = dict(zip((*ENDING_STATES[1:], TransferState.VERIFIED), ENDING_STATES, strict=True))


def advance(
    connection: Connection, transfer_ids: Sequence[str], state: TransferState, verified_at: datetime | None
) -> set[str]:
    """Set the next state of transfers whose deletion step was observed. Return the ids of those that changed state
    now: another sweeper may have recorded the step already, and each step is logged once. Verified transfers become due
    again when their personal data is to be erased.
    """
    lock(connection, transfer_ids)
    taken = update(transfers).where(any_of(transfers.c.id, transfer_ids), transfers.c.state == _BEFORE[state])
    if verified_at is None:
        taken = taken.values(state=state)
    else:
        taken = taken.values(state=state, verified_at=verified_at, due_at=verified_at + FORGET_AFTER, failures=0)
    return set(connection.execute(taken.returning(transfers.c.id)).scalars())


def count_failure(connection: Connection, transfer_id: str) -> int:
    """Count a failed deletion attempt. Return the number of consecutive failures, including this one."""
    counted = update(transfers).where(transfers.c.id == transfer_id).values(failures=transfers.c.failures + 1)
    failures: int = connection.execute(counted.returning(transfers.c.failures)).scalar_one()
    return failures


def note_success(connection: Connection, due: Mapping[str, datetime]) -> None:
    """Record that everything due was done: reset the failures of these transfers, and set when each is due next."""
    if due:
        looked_at = update(transfers).where(transfers.c.id == bindparam("looked_at"))
        values = looked_at.values(failures=0, due_at=bindparam("next"))
        connection.execute(values, [{"looked_at": transfer_id, "next": at} for transfer_id, at in due.items()])


def forget_people(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Erase the label of transfers that ended long ago, which are then never due again."""
    connection.execute(update(transfers).where(any_of(transfers.c.id, transfer_ids)).values(label=None, due_at=None))


def unfinished(connection: Connection, transfer_ids: Iterable[str]) -> set[str]:
    """Return those of the transfers that exist and are not verified."""
    query = select(transfers.c.id).where(
        any_of(transfers.c.id, transfer_ids), transfers.c.state != TransferState.VERIFIED
    )
    return set(connection.execute(query).scalars())


def verified(connection: Connection, transfer_ids: Iterable[str]) -> set[str]:
    """Return those of the transfers that are verified as deleted according to their rows."""
    query = select(transfers.c.id).where(
        any_of(transfers.c.id, transfer_ids), transfers.c.state == TransferState.VERIFIED
    )
    return set(connection.execute(query).scalars())


def page(connection: Connection, after: str, limit: int) -> list[TransferRow]:
    """Return up to `limit` transfers whose id is above `after`, ordered by id."""
    query = select(*COLUMNS).where(transfers.c.id > after).order_by(transfers.c.id).limit(limit)
    return [row_of(row) for row in connection.execute(query)]


def ids_page(connection: Connection, after: str, limit: int, *, verified_too: bool) -> list[str]:
    """Return up to `limit` ids above `after`, in order, of transfers that are not verified; with `verified_too` also of
    verified ones whose personal data is not erased yet. Only ids are read, so that an unreadable row does not hide the
    others.
    """
    held = transfers.c.state != TransferState.VERIFIED
    wanted = or_(held, transfers.c.due_at.is_not(None)) if verified_too else held
    query = select(transfers.c.id).where(transfers.c.id > after, wanted).order_by(transfers.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def count_held(connection: Connection, limit: int) -> int:
    """Count the transfers that are not verified, up to `limit`."""
    held = select(transfers.c.id).where(transfers.c.state != TransferState.VERIFIED).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(held)).scalar_one()


def count_listed(connection: Connection, limit: int) -> int:
    """Count the transfers that `ids_page` lists with `verified_too`, up to `limit`."""
    listed = or_(transfers.c.state != TransferState.VERIFIED, transfers.c.due_at.is_not(None))
    return connection.execute(
        select(func.count()).select_from(select(transfers.c.id).where(listed).limit(limit).subquery())
    ).scalar_one()


def open_among(connection: Connection, transfer_ids: Sequence[str], now: datetime) -> list[str]:
    """Return those of the transfers that are open, except those that failed and are not yet due for a retry."""
    query = select(transfers.c.id).where(
        any_of(transfers.c.id, transfer_ids),
        transfers.c.state.in_(OPEN_STATES),
        or_(transfers.c.failures == 0, transfers.c.due_at <= now),
    )
    return list(connection.execute(query).scalars())


def deny_again(connection: Connection, transfer_id: str, ending: Ending, now: datetime) -> None:
    """Restart the deletion of a transfer that has already ended according to its row."""
    again = {"state": TransferState.DENIED, "ending": ending, "denied_at": now, "verified_at": None, "due_at": now}
    connection.execute(update(transfers).where(_OF_ID).values(failures=0, **again), {"of_id": transfer_id})


def open_page(connection: Connection, after: str, now: datetime, limit: int) -> list[TransferRow]:
    """Return up to `limit` open, unexpired transfers whose id is above `after`, ordered by id."""
    query = select(*COLUMNS).where(
        transfers.c.id > after, transfers.c.state.in_(OPEN_STATES), transfers.c.expires_at > now
    )
    return [row_of(row) for row in connection.execute(query.order_by(transfers.c.id).limit(limit))]


def any_open(connection: Connection, limit: int) -> list[TransferRow]:
    """Return up to `limit` open transfers, expired or not, in no order."""
    return [
        row_of(row)
        for row in connection.execute(select(*COLUMNS).where(transfers.c.state.in_(OPEN_STATES)).limit(limit))
    ]


def row_of(row: Row[Any]) -> TransferRow:
    """Return a row of COLUMNS as a TransferRow."""
    values = dict(zip(TransferRow.__dataclass_fields__, row, strict=True))
    values["state"] = TransferState(values["state"])
    values["ending"] = Ending(values["ending"]) if values["ending"] else None
    return TransferRow(**values)
