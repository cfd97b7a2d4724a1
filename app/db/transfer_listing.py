"""Pages of transfers, newest first, for depositors and operators. An index of `transfers` has this order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select, tuple_

from app.db import transfer_rows
from app.db.tables import shares, transfers
from app.db.transfer_rows import TransferRow
from app.domain.transfer_list import Position, TransferFilter, cut_page

_ORDER = (transfers.c.created_at.desc(), transfers.c.id.desc())


def page(
    connection: Connection, wanted: TransferFilter, after: Position | None, limit: int
) -> tuple[list[TransferRow], Position | None]:
    """Return up to `limit` transfers after a position, and the position of the last one if there are more."""
    query = _matching(select(*transfer_rows.COLUMNS), wanted, after).order_by(*_ORDER).limit(limit + 1)
    return cut_page([transfer_rows.row_of(row) for row in connection.execute(query)], limit)


def count(connection: Connection, wanted: TransferFilter, after: Position | None) -> int:
    """Count the transfers after a position."""
    counted = _matching(select(func.count()).select_from(transfers), wanted, after)
    found: int = connection.execute(counted).scalar_one()
    return found


def _matching(query: Select[Any], wanted: TransferFilter, after: Position | None) -> Select[Any]:
    if wanted.state is not None:
        query = query.where(transfers.c.state == wanted.state)
    if wanted.owner is not None:
        query = query.where(transfers.c.owner == wanted.owner)
    if wanted.since is not None:
        query = query.where(transfers.c.created_at >= wanted.since)
    if wanted.recipient is not None:
        of_recipient = select(shares.c.transfer_id).where(shares.c.recipient == wanted.recipient)
        query = query.where(transfers.c.id.in_(of_recipient))
    if after is not None:
        query = query.where(tuple_(transfers.c.created_at, transfers.c.id) < (after.created_at, after.row_id))
    return query
