"""Rows of the audit log: appending entries, and reading them page by page.

`Database.writing` appends at the end of each transaction; no other code does. Entries are the leaves of the tree in
`audit_tree.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, type_coerce
from sqlalchemy.types import NullType

from app.crypto import merkle
from app.crypto.canonical_json import canonical_json
from app.crypto.encoding import encode
from app.crypto.log_check import Row, fields_of
from app.db import audit_size
from app.db.audit_tree import NODE_COLUMNS, completed_by, hash_in, node_reader
from app.db.bulk_insert import insert_rows
from app.db.column_types import microseconds
from app.db.tables import audit_entries
from app.domain.audit_events import Entry

SALT_BYTES = 16
_APPEND_LOCK = 0x43414455  # "CADU"; nothing else takes this advisory lock

ENTRY = select(audit_entries.c.sequence, audit_entries.c.content, audit_entries.c.leaf_hash, audit_entries.c.at)
"""The columns of a `StoredEntry`, in order."""
_RAW_ENTRIES = ENTRY.where(
    audit_entries.c.sequence >= bindparam("start"), audit_entries.c.sequence < bindparam("stop")
).order_by(audit_entries.c.sequence)


def append(connection: Connection, entries: Sequence[Entry]) -> list[tuple[int, bytes]]:
    """Append entries in their order, inside the caller's transaction. Return the number and leaf hash of each."""
    if not entries:
        return []
    if connection.dialect.name == "postgresql":
        # A sequence without gaps needs a single writer; the lock is released at the commit.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    sequence, is_last = audit_size.end(connection)
    occupied = {} if is_last else _leaves_from(connection, sequence, len(entries))
    stored = node_reader(connection)
    fresh: dict[tuple[int, int], bytes] = {}

    def node(level: int, position: int) -> bytes:
        known = fresh.get((level, position))
        return known if known is not None else stored(level, position)

    rows: list[tuple[object, ...]] = []
    places: list[tuple[int, bytes]] = []
    salts = memoryview(secrets.token_bytes(SALT_BYTES * len(entries)))
    for place, entry in enumerate(entries):
        while sequence in occupied:  # an inserted row becomes a leaf like any other, and verification reports it
            fresh |= {(0, sequence): occupied[sequence]} | completed_by(sequence, occupied[sequence], node)
            sequence += 1
        salt = encode(bytes(salts[place * SALT_BYTES : (place + 1) * SALT_BYTES]))
        content = canonical_json(entry.content(sequence, salt))
        leaf = merkle.leaf_hash(content)
        rows.append((sequence, microseconds(entry.at), content.decode(), leaf))
        places.append((sequence, leaf))
        fresh[0, sequence] = leaf
        fresh.update(completed_by(sequence, leaf, node))
        sequence += 1
    insert_rows(connection, "audit_entries (sequence, at, content, leaf_hash)", rows)
    nodes: list[tuple[object, ...]] = [
        (level, position, value) for (level, position), value in fresh.items() if level > 0
    ]
    if nodes:
        insert_rows(connection, NODE_COLUMNS, nodes, keep_existing=True)  # verification reports an altered node
    return places


def _leaves_from(connection: Connection, start: int, entries: int) -> dict[int, bytes]:
    """Return the leaves of rows inserted where `entries` entries are to be appended; zeros for a row without a hash."""
    stop = start + 2 * entries + audit_size.PAGE
    rows = select(audit_entries.c.sequence, type_coerce(audit_entries.c.leaf_hash, NullType())).where(
        audit_entries.c.sequence >= start, audit_entries.c.sequence < stop
    )
    return {number: hash_in(value) or bytes(merkle.HASH_BYTES) for number, value in connection.execute(rows)}


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as stored; `content` is None once pruned."""

    sequence: int
    content: str | None
    leaf_hash: bytes
    at: datetime

    def fields(self) -> dict[str, object]:
        """Return the members of the content; none if it was pruned or is not an entry."""
        return fields_of(self.content) if self.content else {}

    def logged_at(self) -> datetime | None:
        """Return the time in the content, or None if the content does not hash to its leaf or has no valid time."""
        if self.content is None or merkle.leaf_hash(self.content.encode()) != self.leaf_hash:
            return None
        try:
            moment = datetime.fromisoformat(str(self.fields().get("time")))
        except ValueError:
            return None
        return moment if moment.tzinfo is not None else None


def page(connection: Connection, start: int, limit: int) -> list[StoredEntry]:
    """Return up to `limit` entries from sequence number `start` on. Read long ranges page by page, each in its own
    transaction: an open reader would keep destroyed keys in SQLite's WAL.
    """
    query = ENTRY.where(audit_entries.c.sequence >= start).order_by(audit_entries.c.sequence).limit(limit)
    return [StoredEntry(*row) for row in connection.execute(query)]


@contextmanager
def raw_page(connection: Connection, start: int, stop: int) -> Iterator[Iterator[Row]]:
    """Yield the entries from sequence number `start` up to `stop` as the driver's rows: sequence number, content, leaf
    hash, microseconds since 1970. SQLAlchemy's own rows take as long as reading and hashing an entry.
    """
    result = connection.execute(_RAW_ENTRIES, {"start": start, "stop": stop})
    rows: Any = result.cursor  # iterable in both drivers, which DB-API does not require
    try:
        yield iter(rows)
    finally:
        result.close()  # an unread result would keep the snapshot open, and the WAL from being truncated
