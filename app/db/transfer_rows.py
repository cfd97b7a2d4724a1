"""Rows of transfers.

`due_at` is when the sweeper must look at a transfer next: at its expiry, at the end of a claim's window or an upload's
lease, at a retry. One index over it answers, each second, whether anything at all is due.
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
from app.db.tables import UtcTime, transfers
from app.domain.retention import FORGET_AFTER
from app.domain.transfer import ENDING_STATES, OPEN_STATES, Ending, TransferState


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer as it is stored."""

    id: str
    token_id: str
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


class Expiry(NamedTuple):
    """What of a transfer tells whether it is to be denied."""

    id: str
    state: TransferState
    expires_at: datetime


_TRANSFER = [transfers.c[name] for name in TransferRow.__dataclass_fields__]

# What every deposit and fetch says is built once: building a statement costs several times what running it does.
_OF_ID = transfers.c.id == bindparam("of_id")
_FIND = select(*_TRANSFER).where(_OF_ID)
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
    """The transfer of this id. `for_update` locks the row until the transaction ends (PostgreSQL)."""
    if not is_id(transfer_id):  # what a client sends may hold anything, NUL included, which PostgreSQL refuses
        return None
    row = connection.execute(_FIND_FOR_UPDATE if for_update else _FIND, {"of_id": transfer_id}).first()
    return _transfer(row) if row else None


def owned_by(connection: Connection, owner: str, limit: int) -> list[TransferRow]:
    """The newest transfers of an owner."""
    query = select(*_TRANSFER).where(transfers.c.owner == owner)
    newest = query.order_by(transfers.c.created_at.desc(), transfers.c.id).limit(limit)
    return [_transfer(row) for row in connection.execute(newest)]


def newest(connection: Connection, limit: int) -> list[TransferRow]:
    """The newest transfers of all depositors: for operators, on the machine itself."""
    query = select(*_TRANSFER).order_by(transfers.c.created_at.desc(), transfers.c.id).limit(limit)
    return [_transfer(row) for row in connection.execute(query)]


def due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """The transfers the sweeper must look at, longest due first. Those that another sweeper works on are passed over.
    Their ids only: a row that cannot be read must not hide the others.
    """
    query = select(transfers.c.id).where(transfers.c.due_at <= now).order_by(transfers.c.due_at).limit(limit)
    return list(connection.execute(query.with_for_update(skip_locked=True)).scalars())


def expiries(connection: Connection, transfer_ids: Sequence[str]) -> list[Expiry]:
    """When these transfers expire, and whether they have ended."""
    query = select(*(transfers.c[name] for name in Expiry._fields)).where(any_of(transfers.c.id, transfer_ids))
    rows = connection.execute(query.order_by(transfers.c.id))
    return [Expiry(transfer_id, TransferState(state), expires_at) for transfer_id, state, expires_at in rows]


def anything_due(connection: Connection, now: datetime) -> bool:
    """Whether `due` would answer anything: the one indexed question of every second."""
    return connection.execute(select(transfers.c.id).where(transfers.c.due_at <= now).limit(1)).first() is not None


def set_due(connection: Connection, transfer_id: str, due_at: datetime | None) -> None:
    """Set when to look next (None: never again)."""
    connection.execute(_SET_DUE, {"of_id": transfer_id, "moment": due_at})


def lock(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Lock these rows until the transaction ends, by id. On PostgreSQL one UPDATE of many rows locks them in the order
    of its plan, so that two could deadlock. A write transaction of SQLite's holds the only lock already.
    """
    if connection.dialect.name == "postgresql" and len(transfer_ids) > 1:
        locked = select(transfers.c.id).where(any_of(transfers.c.id, transfer_ids)).order_by(transfers.c.id)
        connection.execute(locked.with_for_update())


def postpone(connection: Connection, transfer_ids: Sequence[str], due_at: datetime) -> None:
    """Keep other sweepers off these transfers until then."""
    lock(connection, transfer_ids)
    connection.execute(update(transfers).where(any_of(transfers.c.id, transfer_ids)).values(due_at=due_at))


def bring_forward(connection: Connection, transfer_id: str, moment: datetime) -> None:
    """Have the sweeper look at `moment` at the latest."""
    connection.execute(_BRING_FORWARD, {"of_id": transfer_id, "moment": moment})


def mark_live(connection: Connection, transfer_id: str, due_at: datetime) -> None:
    """A file is durable: the transfer is live from its first one on. `due_at`: when the sweeper must look next."""
    connection.execute(_MARK_LIVE, {"of_id": transfer_id, "moment": due_at})


def close(connection: Connection, transfer_id: str, now: datetime) -> None:
    """Take no more files; keeps the first time."""
    connection.execute(
        update(transfers).where(transfers.c.id == transfer_id, transfers.c.closed_at.is_(None)).values(closed_at=now)
    )


def set_owner_wrap(connection: Connection, transfer_id: str, owner_wrap: bytes) -> bool:
    """Store the wrapped key that the depositor's program made: once. False when there is one, or the transfer ended."""
    stored = connection.execute(
        update(transfers)
        .where(transfers.c.id == transfer_id, transfers.c.owner_wrap.is_(None), transfers.c.state.in_(OPEN_STATES))
        .values(owner_wrap=owner_wrap)
    )
    return stored.rowcount == 1


def deny(connection: Connection, transfer_ids: Sequence[str], ending: Ending, now: datetime) -> set[str]:
    """The one step that ends transfers: no request opens them from here on, their wrapped keys are gone, the sweeper
    takes over. Answers those that had not ended before.
    """
    lock(connection, transfer_ids)
    denied = (
        update(transfers)
        .where(any_of(transfers.c.id, transfer_ids), transfers.c.state.in_(OPEN_STATES))
        .values(state=TransferState.DENIED, ending=ending, denied_at=now, owner_wrap=None, due_at=now, failures=0)
    )
    return set(connection.execute(denied.returning(transfers.c.id)).scalars())


def find_all(connection: Connection, transfer_ids: Sequence[str], *, for_update: bool = False) -> list[TransferRow]:
    """The transfers of these ids. `for_update` locks their rows until the transaction ends (PostgreSQL)."""
    query = select(*_TRANSFER).where(any_of(transfers.c.id, transfer_ids)).order_by(transfers.c.id)
    return [_transfer(row) for row in connection.execute(query.with_for_update() if for_update else query)]


_BEFORE = dict(zip((*ENDING_STATES[1:], TransferState.VERIFIED), ENDING_STATES, strict=True))


def advance(
    connection: Connection, transfer_ids: Sequence[str], state: TransferState, verified_at: datetime | None
) -> set[str]:
    """Note the next state of deletions that were observed. Answers which took that step now: another sweeper may have
    noted it before, and the log tells each step once. Verified ones are done: the sweeper is to look at them again when
    their people are to be forgotten.
    """
    lock(connection, transfer_ids)
    taken = update(transfers).where(any_of(transfers.c.id, transfer_ids), transfers.c.state == _BEFORE[state])
    if verified_at is None:
        taken = taken.values(state=state)
    else:
        taken = taken.values(state=state, verified_at=verified_at, due_at=verified_at + FORGET_AFTER, failures=0)
    return set(connection.execute(taken.returning(transfers.c.id)).scalars())


def count_failure(connection: Connection, transfer_id: str) -> int:
    """A deletion attempt failed. Answers how many did in a row, this one included."""
    counted = update(transfers).where(transfers.c.id == transfer_id).values(failures=transfers.c.failures + 1)
    failures: int = connection.execute(counted.returning(transfers.c.failures)).scalar_one()
    return failures


def note_success(connection: Connection, due: Mapping[str, datetime]) -> None:
    """Note of each of these transfers that all that was due has been done, and when to look again."""
    if due:
        looked_at = update(transfers).where(transfers.c.id == bindparam("looked_at"))
        values = looked_at.values(failures=0, due_at=bindparam("next"))
        connection.execute(values, [{"looked_at": transfer_id, "next": at} for transfer_id, at in due.items()])


def forget_people(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Drop the free text of long-ended transfers."""
    connection.execute(update(transfers).where(any_of(transfers.c.id, transfer_ids)).values(label=None, due_at=None))


def unfinished(connection: Connection, transfer_ids: Iterable[str]) -> set[str]:
    """Those of these transfers that exist and are not verified."""
    query = select(transfers.c.id).where(
        any_of(transfers.c.id, transfer_ids), transfers.c.state != TransferState.VERIFIED
    )
    return set(connection.execute(query).scalars())


def verified(connection: Connection, transfer_ids: Iterable[str]) -> set[str]:
    """Those of these transfers whose row says that they are gone."""
    query = select(transfers.c.id).where(
        any_of(transfers.c.id, transfer_ids), transfers.c.state == TransferState.VERIFIED
    )
    return set(connection.execute(query).scalars())


def page(connection: Connection, after: str, limit: int) -> list[TransferRow]:
    """Up to `limit` transfers by id, from the one after `after` on."""
    query = select(*_TRANSFER).where(transfers.c.id > after).order_by(transfers.c.id).limit(limit)
    return [_transfer(row) for row in connection.execute(query)]


def ids_page(connection: Connection, after: str, limit: int, *, verified_too: bool) -> list[str]:
    """Up to `limit` ids of transfers from the one after `after` on: those not verified, or with `verified_too` also
    those whose people are not forgotten yet. Ids only: a row that cannot be read must not hide the others.
    """
    held = transfers.c.state != TransferState.VERIFIED
    wanted = or_(held, transfers.c.due_at.is_not(None)) if verified_too else held
    query = select(transfers.c.id).where(transfers.c.id > after, wanted).order_by(transfers.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def count_held(connection: Connection, limit: int) -> int:
    """How many transfers are not verified; no more than `limit` are counted."""
    held = select(transfers.c.id).where(transfers.c.state != TransferState.VERIFIED).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(held)).scalar_one()


def count_listed(connection: Connection, limit: int) -> int:
    """How many transfers `ids_page` lists with those that are verified; no more than `limit` are counted."""
    listed = or_(transfers.c.state != TransferState.VERIFIED, transfers.c.due_at.is_not(None))
    return connection.execute(
        select(func.count()).select_from(select(transfers.c.id).where(listed).limit(limit).subquery())
    ).scalar_one()


def open_among(connection: Connection, transfer_ids: Sequence[str], now: datetime) -> list[str]:
    """Those of these transfers that are open, but for those that failed and wait for their next try."""
    query = select(transfers.c.id).where(
        any_of(transfers.c.id, transfer_ids),
        transfers.c.state.in_(OPEN_STATES),
        or_(transfers.c.failures == 0, transfers.c.due_at <= now),
    )
    return list(connection.execute(query).scalars())


def deny_again(connection: Connection, transfer_id: str, ending: Ending, now: datetime) -> None:
    """Begin the deletion of a transfer anew that is said to have ended already."""
    again = {"state": TransferState.DENIED, "ending": ending, "denied_at": now, "verified_at": None, "due_at": now}
    connection.execute(update(transfers).where(_OF_ID).values(failures=0, **again), {"of_id": transfer_id})


def open_page(connection: Connection, after: str, now: datetime, limit: int) -> list[TransferRow]:
    """Up to `limit` open transfers not yet due, by id, from the one after `after` on."""
    query = select(*_TRANSFER).where(
        transfers.c.id > after, transfers.c.state.in_(OPEN_STATES), transfers.c.expires_at > now
    )
    return [_transfer(row) for row in connection.execute(query.order_by(transfers.c.id).limit(limit))]


def any_open(connection: Connection, limit: int) -> list[TransferRow]:
    """Up to `limit` open transfers, whether due or not."""
    return [
        _transfer(row)
        for row in connection.execute(select(*_TRANSFER).where(transfers.c.state.in_(OPEN_STATES)).limit(limit))
    ]


def _transfer(row: Row[Any]) -> TransferRow:
    values = dict(zip(TransferRow.__dataclass_fields__, row, strict=True))
    values["state"] = TransferState(values["state"])
    values["ending"] = Ending(values["ending"]) if values["ending"] else None
    return TransferRow(**values)
