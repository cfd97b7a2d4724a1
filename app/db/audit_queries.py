"""Read-only queries of the audit log by period, transfer, actor and more.

Results are read in pages, each in its own short transaction: an open reader would keep destroyed keys in SQLite's WAL.
`event` and `transfer` are indexed columns that the database generates from the content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from app.db import audit_pruning, checkpoint_rows
from app.db.audit_rows import StoredEntry
from app.db.tables import audit_entries
from app.domain.audit_events import Event
from app.domain.period import Period

ENTRIES = audit_entries.c
_STORED = (ENTRIES.sequence, ENTRIES.content, ENTRIES.leaf_hash, ENTRIES.at)


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Criteria for entries; None matches any value. `since` is included, `until` is not."""

    event: Event | None = None
    transfer: str | None = None
    share: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def wanted(self) -> dict[str, str]:
        """The members that an entry must have, with their values."""
        members = {"event": self.event, "transfer": self.transfer, "share": self.share, "actor": self.actor}
        return {name: str(value) for name, value in members.items() if value is not None}

    def __contains__(self, entry: StoredEntry) -> bool:
        """Return whether an entry matches. A pruned entry has no members, so it matches only by time."""
        since, until = self.since or entry.at, self.until
        fields = entry.fields()
        in_time = since <= entry.at and (until is None or entry.at < until)
        return in_time and all(fields.get(name) == value for name, value in self.wanted.items())


def bounds(connection: Connection, wanted: EntryFilter, size: int) -> tuple[int, int]:
    """Return the range of sequence numbers below `size` that covers all matching entries: first, and last plus one."""
    if wanted.since is None and wanted.until is None and wanted.transfer is None:
        return 0, size
    query = select(func.min(ENTRIES.sequence), func.max(ENTRIES.sequence)).where(ENTRIES.sequence < size)
    if wanted.transfer is not None:
        query = query.where(ENTRIES.transfer == wanted.transfer)
    if wanted.since is not None:
        query = query.where(ENTRIES.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(ENTRIES.at < wanted.until)
    first, last = connection.execute(query).one()
    return (0, 0) if first is None else (first, last + 1)


def span(connection: Connection, wanted: EntryFilter, start: int, stop: int) -> list[StoredEntry]:
    """Return the matching entries from `start` up to but not including `stop`, in order."""
    query = select(*_STORED).where(ENTRIES.sequence >= start, ENTRIES.sequence < stop).order_by(ENTRIES.sequence)
    for name, value in wanted.wanted.items():
        if name == "transfer":
            query = query.where(ENTRIES.transfer == value)
        else:  # SQLite's LIKE ignores case, so the result is filtered again below
            query = query.where(ENTRIES.content.contains(f'"{name}":"{value}"', autoescape=True))
    return [entry for entry in _entries(connection, query) if entry in wanted]


def in_period(connection: Connection, period: Period, after: tuple[datetime, int], limit: int) -> list[StoredEntry]:
    """Return up to `limit` entries of a period in order of time, those after (time, sequence)."""
    moment, sequence = after
    later = or_(ENTRIES.at > moment, and_(ENTRIES.at == moment, ENTRIES.sequence > sequence))
    query = select(*_STORED).where(ENTRIES.at >= max(period.since, moment), ENTRIES.at < period.until, later)
    return list(_entries(connection, query.order_by(ENTRIES.at, ENTRIES.sequence).limit(limit)))


def created_in(
    connection: Connection, period: Period, after: tuple[datetime, int], limit: int
) -> list[tuple[str, datetime, int]]:
    """Return up to `limit` transfers created in a period in order of time, those after (time, sequence): id, time and
    sequence of the entry.
    """
    moment, sequence = after
    later = or_(ENTRIES.at > moment, and_(ENTRIES.at == moment, ENTRIES.sequence > sequence))
    within = (ENTRIES.at >= max(period.since, moment), ENTRIES.at < period.until)
    query = select(ENTRIES.transfer, ENTRIES.at, ENTRIES.sequence).where(*within, later)
    created = query.where(ENTRIES.event == Event.TRANSFER_CREATED, ENTRIES.transfer.is_not(None))
    rows = connection.execute(created.order_by(ENTRIES.at, ENTRIES.sequence).limit(limit))
    return [(transfer, at, number) for transfer, at, number in rows]


def stories(connection: Connection, transfers: Sequence[str], after: int, size: int, limit: int) -> list[StoredEntry]:
    """Return up to `limit` entries of these transfers with a sequence number above `after` and below `size`."""
    number = ENTRIES.sequence + 0  # of the bare column, SQLite would scan the whole log in this order
    query = select(*_STORED).where(ENTRIES.transfer.in_(transfers), number > after, number < size)
    return list(_entries(connection, query.order_by(number).limit(limit)))


@dataclass(frozen=True, slots=True)
class HeldPage:
    """Ids of transfers, and the id after which the next page begins; None at the end."""

    transfers: list[str]
    after: str | None


def held_at(connection: Connection, moment: datetime, after: str, rows: int) -> HeldPage:
    """Return a page of the transfers that were created before `moment` and not yet verified as deleted then, ordered by
    id, over about `rows` index entries. A transfer whose creation entry was pruned counts as created before.
    """
    transfer = ENTRIES.transfer
    ahead = select(transfer).where(transfer > after).order_by(transfer).offset(rows).limit(1)
    upto: str | None = connection.execute(ahead).scalar()
    created = func.min(case((ENTRIES.event == Event.TRANSFER_CREATED, ENTRIES.at)))
    deleted = func.min(case((ENTRIES.event == Event.TRANSFER_DELETED, ENTRIES.at)))
    query = select(transfer).where(transfer > after).group_by(transfer)
    if upto is not None:
        query = query.where(transfer <= upto)
    held = query.having(or_(created.is_(None), created < moment), or_(deleted.is_(None), deleted > moment))
    return HeldPage(list(connection.execute(held).scalars()), upto)


def find_deletion(connection: Connection, transfer_id: str) -> StoredEntry | None:
    """Return the last entry `transfer.deleted` of a transfer; None if it was pruned or never logged."""
    query = select(*_STORED).where(ENTRIES.transfer == transfer_id, ENTRIES.event == Event.TRANSFER_DELETED)
    row = connection.execute(query.order_by(ENTRIES.sequence.desc()).limit(1)).first()
    return StoredEntry(*row) if row else None


def first_kept(connection: Connection) -> datetime | None:
    """Return the time of the first entry that was not pruned, or None if nothing was pruned."""
    below = audit_pruning.pruned_below(connection)
    at: datetime | None = connection.execute(select(ENTRIES.at).where(ENTRIES.sequence == below)).scalar()
    return at if below else None


def restores(connection: Connection) -> list[tuple[datetime, datetime]]:
    """Return the gaps that restored backups left in the log: since when entries may be missing, and the time of the
    restore. A new origin counts as a restore if it quotes a checkpoint over more entries than precede it.

    A gap begins at the last checkpoint in the backup, not at the entry before the restore: acts on the restored
    database before its acceptance are in the log too, but were never signed.
    """
    gaps = []
    for entry in (entry for entry in renewals(connection) if _lost_entries(entry)):
        signed = checkpoint_rows.last(connection, within=entry.sequence)
        before = connection.execute(select(func.max(ENTRIES.at)).where(ENTRIES.at < entry.at)).scalar()
        gaps.append((signed.at if signed else before or entry.at, entry.at))
    return gaps


def renewals(connection: Connection) -> list[StoredEntry]:
    """Return the entries that begin a new origin of the log, in order."""
    began = ENTRIES.event.in_([Event.LOG_RENEWED, Event.DATABASE_RESTORED])
    query = select(*_STORED).where(ENTRIES.transfer.is_(None), began)
    return list(_entries(connection, query.order_by(ENTRIES.sequence)))


def _lost_entries(renewal: StoredEntry) -> bool:
    fields = renewal.fields()
    if fields.get("event") == Event.DATABASE_RESTORED:
        return True
    lines = str(fields.get("quoted")).split("\n")  # origin, size, root: a checkpoint
    return len(lines) > 1 and lines[1].isdecimal() and int(lines[1]) > renewal.sequence


def _entries(connection: Connection, query: Select[Any]) -> Iterator[StoredEntry]:
    for row in connection.execute(query):
        yield StoredEntry(*row)
