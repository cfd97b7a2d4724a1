"""The rows of a restored backup that the drill needs, whichever database it is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.db import service_rows, transfer_rows, whole_transfers
from app.db.engine import Database
from app.db.postgres_copy import DumpNotRead, Row

PAGE = 500
COLUMNS = {
    "service_state": ("installation_id",),
    "transfers": ("id", "state", "expires_at", "owner_wrap"),
    "shares": ("id", "transfer_id", "state", "expires_at", "wrapped_key"),
}
"""What is read of a PostgreSQL backup, by table."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RestoredShare:
    """A share as the backup has it; `wrapped`: the row still has its key, wrapped."""

    id: str
    state: str
    expires_at: datetime
    wrapped: bool


@dataclass(frozen=True, slots=True)
class RestoredTransfer:
    """A transfer as the backup has it, with its shares."""

    id: str
    state: str
    expires_at: datetime
    wrapped: bool
    shares: list[RestoredShare] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RestoredRows:
    """The installation's id, None if the backup has none, and its transfers."""

    installation_id: str | None
    transfers: Iterable[RestoredTransfer]


def of_sqlite(file: Path) -> RestoredRows:
    """Read a SQLite file. Raises DatabaseUnavailable, also while the transfers are read."""
    database = Database(f"sqlite:///{file.resolve()}")
    with database.reading() as connection:
        found = service_rows.find(connection)
    return RestoredRows(found.installation_id if found else None, _pages(database))


def _pages(database: Database) -> Iterator[RestoredTransfer]:
    after = ""
    try:
        while True:
            with database.reading() as connection:
                page = whole_transfers.load(connection, transfer_rows.page(connection, after, PAGE))
            if not page:
                return
            for whole in page:
                row = whole.transfer
                shares = [
                    RestoredShare(share.id, share.state, share.expires_at, share.wrapped_key is not None)
                    for share in whole.shares
                ]
                yield RestoredTransfer(row.id, row.state, row.expires_at, row.owner_wrap is not None, shares)
            after = page[-1].transfer.id
    finally:
        database.close()


def of_postgres(rows: Iterable[tuple[str, Row]]) -> RestoredRows:
    """Collect the rows of a PostgreSQL backup. Raises DumpNotRead if a table has none of COLUMNS, or more than one
    installation is in it.
    """
    ids: set[str | None] = set()
    transfers: dict[str, RestoredTransfer] = {}
    shares: list[tuple[str, RestoredShare]] = []
    for table, row in rows:
        if not {*COLUMNS[table]} <= row.keys():
            raise DumpNotRead(f"the table {table} of the backup lacks a column of {', '.join(COLUMNS[table])}")
        if table == "service_state":
            ids.add(row["installation_id"])
        elif table == "transfers":
            transfer_id, wrapped = str(row["id"]), row["owner_wrap"] is not None
            transfers[transfer_id] = RestoredTransfer(transfer_id, str(row["state"]), _time(row), wrapped)
        else:
            share = RestoredShare(str(row["id"]), str(row["state"]), _time(row), row["wrapped_key"] is not None)
            shares.append((str(row["transfer_id"]), share))
    if len(ids) > 1:
        raise DumpNotRead("the backup holds several installations: dump one database at a time")
    for transfer_id, share in shares:
        if transfer_id not in transfers:
            raise DumpNotRead("the backup has a share without its transfer: it is not complete")
        transfers[transfer_id].shares.append(share)
    return RestoredRows(ids.pop() if ids else None, transfers.values())


def _time(row: Row) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=int(row["expires_at"] or ""))
    except (ValueError, OverflowError):
        raise DumpNotRead("a time in the backup is not readable") from None
