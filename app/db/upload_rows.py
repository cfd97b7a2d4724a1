"""Rows of resumable uploads, beside the rows of their files. A row is dropped with its unfinished file, or when its
transfer ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select, update

from app.db.any_of import any_of
from app.db.tables import uploads


@dataclass(frozen=True, slots=True, repr=False)
class UploadRow:
    """An upload: `offset` of `length` bytes are durable. `tail` is how their encryption goes on, itself encrypted; None
    before the first part, and for a sealed file.

    While a request sends a part, `part` is its id and `part_until` the end of its lease. A part whose lease ended was
    sent by a process that died: how much of it was stored is unknown.
    """

    id: str
    transfer_id: str
    number: int
    blob_id: str
    length: int
    offset: int
    tail: bytes | None
    expires_at: datetime
    part: str | None
    part_until: datetime | None


_COLUMNS = [uploads.c[name] for name in UploadRow.__dataclass_fields__]


def add(connection: Connection, row: UploadRow) -> None:
    """Insert the row of a new upload."""
    connection.execute(insert(uploads), {name: getattr(row, name) for name in row.__dataclass_fields__})


def find(connection: Connection, upload_id: str, *, for_update: bool = False) -> UploadRow | None:
    """Return the upload, locked until the transaction ends if `for_update`."""
    query = select(*_COLUMNS).where(uploads.c.id == upload_id)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    return UploadRow(*row) if row else None


def find_number(connection: Connection, transfer_id: str, number: int) -> UploadRow | None:
    """Return the upload of this file of the transfer."""
    query = select(*_COLUMNS).where(uploads.c.transfer_id == transfer_id, uploads.c.number == number)
    row = connection.execute(query).first()
    return UploadRow(*row) if row else None


def hold(connection: Connection, row: UploadRow) -> None:
    """Store the request that sends a part, with the blob that it writes."""
    held = {name: getattr(row, name) for name in ("blob_id", "offset", "tail", "part", "part_until")}
    connection.execute(update(uploads).where(uploads.c.id == row.id).values(held))


def renew(connection: Connection, upload_id: str, part: str, until: datetime) -> bool:
    """Extend the lease of a part. Return False if the upload is gone or another request holds it."""
    mine = and_(uploads.c.id == upload_id, uploads.c.part == part)
    return connection.execute(update(uploads).where(mine).values(part_until=until)).rowcount == 1


def release(connection: Connection, row: UploadRow) -> bool:
    """Record where a part ended, once that is durable. Return False if another request holds the upload."""
    mine = and_(uploads.c.id == row.id, uploads.c.part == row.part)
    ended = {name: getattr(row, name) for name in ("offset", "tail", "expires_at")}
    return connection.execute(update(uploads).where(mine).values(**ended, part=None, part_until=None)).rowcount == 1


def let_go(connection: Connection, upload_id: str, part: str) -> None:
    """End a part that changed nothing."""
    mine = and_(uploads.c.id == upload_id, uploads.c.part == part)
    connection.execute(update(uploads).where(mine).values(part=None, part_until=None))


def drop(connection: Connection, blob_id: str) -> None:
    """Remove the upload that writes this blob."""
    connection.execute(delete(uploads).where(uploads.c.blob_id == blob_id))


def drop_of_transfers(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Remove the uploads of ended transfers, with the wrapped ends of their files. A transfer that recipients end has
    none, and their role may not delete.
    """
    ended = any_of(uploads.c.transfer_id, transfer_ids)
    if connection.execute(select(uploads.c.id).where(ended).limit(1)).first() is not None:
        connection.execute(delete(uploads).where(ended))
