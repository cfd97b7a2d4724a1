"""Rows of files: received under a lease, then live; names are removed once the transfer has ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, or_, select, update

from app.db.any_of import Texts, any_of
from app.db.tables import files, transfers
from app.domain.transfer import FileState, TransferState


@dataclass(frozen=True, slots=True)
class FileRow:
    """A stored file: sizes in bytes, name and type encrypted in `sealed_meta`."""

    transfer_id: str
    number: int
    blob_id: str
    state: FileState
    size: int
    sealed_size: int
    sealed_meta: bytes | None
    created_at: datetime
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class FileCounts:
    """The files of one transfer, counted: all of them and those still being received; plaintext bytes; the highest
    number, -1 without files; the earliest end of a lease.
    """

    files: int
    receiving: int
    size: int
    highest: int
    lease_until: datetime | None

    @property
    def are_contiguous(self) -> bool:
        """Whether the numbers run from 0 without gaps; each is used once."""
        return self.highest == self.files - 1


_FILE = [files.c[name] for name in FileRow.__dataclass_fields__]

# Statements of every deposit and download are built once: building one takes several times as long as running it.
_INSERT = insert(files)
_OF_TRANSFERS = (
    select(*_FILE)
    .where(any_of(files.c.transfer_id, bindparam("of_ids", type_=Texts())))
    .order_by(files.c.transfer_id, files.c.number)
)
_COUNTS = select(
    func.count(),
    func.count().filter(files.c.state == FileState.RECEIVING),
    func.coalesce(func.sum(files.c.size), 0),
    func.coalesce(func.max(files.c.number), -1),
    func.min(files.c.lease_until),
).where(files.c.transfer_id == bindparam("of_transfer"))
_NEXT = files.alias("next")
_GAP = (
    select(func.min(files.c.number) + 1)
    .where(files.c.transfer_id == bindparam("of_transfer"))
    .where(~exists().where(_NEXT.c.transfer_id == files.c.transfer_id, _NEXT.c.number == files.c.number + 1))
)
_FIRST = select(files.c.number).where(files.c.transfer_id == bindparam("of_transfer"), files.c.number == 0)
_FINISH = (
    update(files)
    .where(files.c.blob_id == bindparam("of_blob"), files.c.state == FileState.RECEIVING)
    .where(files.c.lease_until > files.c.created_at)  # otherwise the upload was given up
    .values(state=FileState.LIVE, lease_until=None)
)


def add(connection: Connection, row: FileRow) -> None:
    """Insert the row of an upload."""
    connection.execute(_INSERT, {name: getattr(row, name) for name in row.__dataclass_fields__})


def of_transfers(connection: Connection, transfer_ids: Iterable[str]) -> list[FileRow]:
    """Return the files of these transfers, ordered by transfer and number."""
    return [_file(row) for row in connection.execute(_OF_TRANSFERS, {"of_ids": transfer_ids})]


def counts(connection: Connection, transfer_id: str) -> FileCounts:
    """Count the files of a transfer, without reading them one by one."""
    number, receiving, size, highest, lease_until = connection.execute(_COUNTS, {"of_transfer": transfer_id}).one()
    return FileCounts(number, receiving, int(size), highest, lease_until)  # PostgreSQL's sum of bigint is numeric


def free_number(connection: Connection, transfer_id: str) -> int:
    """Return the lowest free number; the number of a failed upload is reused."""
    given = {"of_transfer": transfer_id}
    if connection.execute(_FIRST, given).first() is None:
        return 0
    number: int = connection.execute(_GAP, given).scalar_one()
    return number


def find(connection: Connection, blob_id: str) -> FileRow | None:
    """Return the file of this blob."""
    query = select(*_FILE).where(files.c.blob_id == blob_id)
    row = connection.execute(query).first()
    return _file(row) if row else None


def describe(connection: Connection, blob_id: str, sealed_meta: bytes) -> None:
    """Store the encrypted name of an unfinished file."""
    unfinished = update(files).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    connection.execute(unfinished.values(sealed_meta=sealed_meta))


def begin_again(connection: Connection, blob_id: str, new_blob_id: str) -> bool:
    """Give an unfinished file a new blob, once its first was deleted. Return False if its row is gone or live."""
    unfinished = update(files).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    return connection.execute(unfinished.values(blob_id=new_blob_id)).rowcount == 1


def finish(connection: Connection, row: FileRow) -> bool:
    """Mark a file as live once its blob is durable. Return False if its row was removed or given up meanwhile."""
    sizes = {"size": row.size, "sealed_size": row.sealed_size, "sealed_meta": row.sealed_meta}
    finished = connection.execute(_FINISH, {"of_blob": row.blob_id, **sizes})
    return finished.rowcount == 1


def renew_lease(connection: Connection, blob_id: str, until: datetime) -> bool:
    """Extend the lease of an upload. Return False if its row is gone; the upload must then stop."""
    renewed = connection.execute(
        update(files).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING).values(lease_until=until)
    )
    return renewed.rowcount == 1


def lease_of(connection: Connection, blob_id: str) -> datetime | None:
    """Return the end of an upload's lease, or None if its row is gone or live."""
    query = select(files.c.lease_until).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    lease: datetime | None = connection.execute(query).scalar()
    return lease


def give_up(connection: Connection, blob_id: str) -> bool:
    """Expire the lease of a failed upload, so that it cannot finish and the sweeper removes it. Return False if it had
    finished.
    """
    given_up = update(files).where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    connection.execute(given_up.values(lease_until=files.c.created_at))
    finished = select(files.c.number).where(files.c.blob_id == blob_id, files.c.state == FileState.LIVE)
    return connection.execute(finished).first() is None


def drop(connection: Connection, blob_id: str) -> bool:
    """Remove the row of an unfinished upload, whose blob was deleted before. Return False if there was none."""
    unfinished = files.delete().where(files.c.blob_id == blob_id, files.c.state == FileState.RECEIVING)
    return connection.execute(unfinished).rowcount == 1


def strip(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Remove the encrypted names of ended transfers; sizes stay for the depositor's list."""
    connection.execute(update(files).where(any_of(files.c.transfer_id, transfer_ids)).values(sealed_meta=None))


def blobs_in_use(connection: Connection, blob_ids: Sequence[str]) -> set[str]:
    """Return those of the blobs that belong to a transfer that is not verified. An upload without a lease is dead."""
    query = select(files.c.blob_id).join(transfers, transfers.c.id == files.c.transfer_id)
    alive = or_(files.c.state == FileState.LIVE, files.c.lease_until.is_not(None))
    held = query.where(any_of(files.c.blob_id, blob_ids), transfers.c.state != TransferState.VERIFIED, alive)
    return set(connection.execute(held).scalars())


def transfers_of_dead_uploads(connection: Connection, before: datetime, limit: int) -> list[str]:
    """Return up to `limit` ids of transfers with an upload that has no lease, or one that expired before `before`."""
    dead = or_(files.c.lease_until.is_(None), files.c.lease_until < before)
    query = select(files.c.transfer_id).where(files.c.state == FileState.RECEIVING, dead).distinct().limit(limit)
    return list(connection.execute(query).scalars())


def blobs_of_verified(connection: Connection, blob_ids: Sequence[str]) -> set[str]:
    """Return those of the blobs that belong to a verified transfer."""
    query = select(files.c.blob_id).join(transfers, transfers.c.id == files.c.transfer_id)
    gone = query.where(any_of(files.c.blob_id, blob_ids), transfers.c.state == TransferState.VERIFIED)
    return set(connection.execute(gone).scalars())


def _file(row: Row[Any]) -> FileRow:
    values = dict(zip(FileRow.__dataclass_fields__, row, strict=True))
    values["state"] = FileState(values["state"])
    return FileRow(**values)
