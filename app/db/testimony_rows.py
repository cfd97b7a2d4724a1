"""Read log entries of transfers, for comparison with their rows. Each entry's content is checked against its hash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from app.crypto import merkle
from app.db.any_of import Texts, any_of
from app.db.tables import audit_entries, transfers
from app.domain.audit_events import Event
from app.domain.testimony import LIFE, AttestedEntry, Testimony

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF = audit_entries.c
_STORED = (_OF.transfer, _OF.sequence, _OF.content, _OF.leaf_hash, _OF.at)
_OF_TRANSFERS = (
    select(*_STORED)
    .where(any_of(_OF.transfer, bindparam("of_ids", type_=Texts())), any_of(_OF.event, bindparam("of", type_=Texts())))
    .order_by(_OF.sequence)
)
_LAST = (
    select(*_STORED)
    .where(_OF.transfer.is_(None), any_of(_OF.event, bindparam("of", type_=Texts())))
    .order_by(_OF.sequence.desc())
    .limit(1)
)


def of_transfers(
    connection: Connection, transfer_ids: Sequence[str], events: Sequence[Event] = LIFE, *, leaves: bool = False
) -> dict[str, Testimony]:
    """Return the log's testimony on each of these transfers, empty for one without entries. `leaves` includes the leaf
    hashes of the entries.
    """
    testimonies = {transfer_id: Testimony(leaves={} if leaves else None) for transfer_id in transfer_ids}
    rows: Any = connection.execute(
        _OF_TRANSFERS, {"of_ids": transfer_ids, "of": [event.value for event in events]}
    ).cursor
    for transfer_id, *stored in rows.fetchall():  # driver rows: SQLAlchemy's double the cost
        testimonies[transfer_id].add(_attested(*stored))
    return testimonies


def last_of(connection: Connection, *events: Event) -> AttestedEntry | None:
    """Return the last entry of one of these events that concerns no transfer, or None."""
    rows: Any = connection.execute(_LAST, {"of": [event.value for event in events]}).cursor
    found = rows.fetchall()
    return _attested(*found[0][1:]) if found else None


def without_row(connection: Connection, after: str, entries: int) -> tuple[list[str], str | None]:
    """Return the ids above `after`, in order, of transfers that the log names but that have no row, over about
    `entries` log entries; and the id after which the next page begins, None at the end.
    """
    named = _OF.transfer
    upto: str | None = connection.execute(
        select(named).where(named > after).order_by(named).offset(entries).limit(1)
    ).scalar()
    rowless = select(named).where(named > after, ~exists().where(transfers.c.id == named)).distinct()
    if upto is not None:
        rowless = rowless.where(named <= upto)
    return list(connection.execute(rowless).scalars()), upto


def _attested(sequence: int, content: str | bytes, stored_leaf: object, at: int) -> AttestedEntry:
    leaf = bytes(stored_leaf) if isinstance(stored_leaf, (bytes, memoryview)) else b""
    try:
        fields = json.loads(content)
        moment = _EPOCH + timedelta(microseconds=at)
    except (ValueError, TypeError, OverflowError, RecursionError):  # SQLite accepts any type in any column
        return AttestedEntry(sequence, leaf, {}, _EPOCH, sound=False)
    sound = isinstance(fields, dict) and isinstance(content, str) and merkle.leaf_hash(content.encode()) == leaf
    return AttestedEntry(sequence, leaf, fields if sound else {}, moment, sound)
