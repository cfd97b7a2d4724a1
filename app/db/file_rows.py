"""Rows of files: being received under a lease, then live, and empty of names once their transfer has ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from app.db.any_of import Texts, any_of
from app.db.tables import files, transfers
from app.domain.transfer import FileState, TransferState


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it is stored: sizes in bytes, its name and type encrypted."""

    transfer_id: str
    number: int
    blob_id: str
    state: FileState
    size: int
    sealed_size: int
    sealed_meta: bytes | None
    created_at: datetime
    lease_until: datetime | None


_FILE = [files.c[name] for name in FileRow.__dataclass_fields__]

# What every deposit and fetch says is built once: building a statement costs several times what running it does.
_INSERT = insert(files)
_OF_TRANSFERS = (
    select(*_FILE)
    .where(any_of(files.c.transfer_id, bindparam("of_ids", type_=Texts())))
    .order_by(files.c.transfer_id, files.c.number)
)
_FINISH = (
    update(files)
    .where(files.c.blob_id == bindparam("of_blob"), files.c.state == FileState.RECEIVING)
    .where(files.c.lease_until > files.c.created_at)  # else it was given up
    .values(state=FileState.LIVE, lease_until=None)
)


def add(connection: Connection, row: FileRow) -> None:
    """Insert a file that is being received."""
    connection.execute(_INSERT, {name: getattr(row, name) for name in row.__dataclass_fields__})


def of_transfers(connection: Connection, transfer_ids: Iterable[str]) -> list[FileRow]:
    """The files of these transfers, in order."""
    return [_file(row) for row in connection.execute(_OF_TRANSFERS, {"of_ids": transfer_ids})]


def finish(connection: Connection, row: FileRow) -> bool:
    """The blob is durable: the file counts. False when its row was taken away, or given up, meanwhile."""
    sizes = {"size": row.size, "sealed_size": row.sealed_size, "sealed_meta": row.sealed_meta}
    finished = connection.execute(_FINISH, {"of_blob": row.blob_id, **sizes})
    return finished.rowcount == 1


def renew_lease(connection: Connection, blob_id: str, until: datetime) -> bool:
    """Keep an upload alive. False when its row is gone: the upload must stop."""
    renewed = connection.execute(
        update(files).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING).values(lease_until=until)
    )
    return renewed.rowcount == 1


def lease_of(connection: Connection, blob_id: str) -> datetime | None:
    """Until when an upload counts as alive; None when its row is gone or finished."""
    query = select(files.c.lease_until).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    lease: datetime | None = connection.execute(query).scalar()
    return lease


def give_up(connection: Connection, blob_id: str) -> bool:
    """An upload broke off: it cannot finish any more, and to the sweeper it is dead. False when it had finished."""
    given_up = update(files).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    connection.execute(given_up.values(lease_until=files.c.created_at))
    finished = select(files.c.number).where(files.c.blob_id == blob_id, files.c.state == FileState.LIVE)
    return connection.execute(finished).first() is None


def drop(connection: Connection, blob_id: str) -> bool:
    """Remove the row of a file that was never finished. Its blob is gone already. False when there was none."""
    unfinished = files.delete().where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    return connection.execute(unfinished).rowcount == 1


def strip(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Drop the encrypted names of ended transfers; their sizes stay for the depositor's list."""
    connection.execute(update(files).where(any_of(files.c.transfer_id, transfer_ids)).values(sealed_meta=None))


def blobs_in_use(connection: Connection, blob_ids: Sequence[str]) -> set[str]:
    """Those of these blobs that a file of a transfer names which is not verified. An upload without a lease is dead."""
    query = select(files.c.blob_id).join(transfers, transfers.c.id == files.c.transfer_id)
    alive = or_(files.c.state == FileState.LIVE, files.c.lease_until.is_not(None))
    held = query.where(any_of(files.c.blob_id, blob_ids), transfers.c.state != TransferState.VERIFIED, alive)
    return set(connection.execute(held).scalars())


def transfers_of_dead_uploads(connection: Connection, before: datetime, limit: int) -> list[str]:
    """Transfers with an upload whose lease ended before then, or that has none."""
    dead = or_(files.c.lease_until.is_(None), files.c.lease_until < before)
    query = select(files.c.transfer_id).where(files.c.state == FileState.RECEIVING, dead).distinct().limit(limit)
    return list(connection.execute(query).scalars())


def blobs_of_verified(connection: Connection, blob_ids: Sequence[str]) -> set[str]:
    """Those of these blobs that a file of a verified transfer names."""
    query = select(files.c.blob_id).join(transfers, transfers.c.id == files.c.transfer_id)
    gone = query.where(any_of(files.c.blob_id, blob_ids), transfers.c.state == TransferState.VERIFIED)
    return set(connection.execute(gone).scalars())


def _file(row: Row[Any]) -> FileRow:
    values = dict(zip(FileRow.__dataclass_fields__, row, strict=True))
    values["state"] = FileState(values["state"])
    return FileRow(**values)
