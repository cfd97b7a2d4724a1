"""The stored nodes of the Merkle tree (RFC 6962) whose leaves are the audit log's entries.

Complete interior nodes are stored when their last leaf is appended, so that an append and a root cost O(log n).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy import Connection, bindparam, func, select, type_coerce
from sqlalchemy.types import NullType

from app.crypto import merkle
from app.db import audit_size
from app.db.bulk_insert import insert_rows
from app.db.tables import audit_entries, audit_nodes

log = structlog.get_logger()

NODE_COLUMNS = "audit_nodes (level, position, hash)"

# Built once, because building a statement takes several times as long as running it.
_LEAF = select(type_coerce(audit_entries.c.leaf_hash, NullType())).where(
    audit_entries.c.sequence == bindparam("position")
)
_NODE = select(type_coerce(audit_nodes.c.hash, NullType())).where(
    audit_nodes.c.level == bindparam("level"), audit_nodes.c.position == bindparam("position")
)
_RAW_NODES = (
    select(audit_nodes.c.hash)
    .where(
        audit_nodes.c.level == bindparam("level"),
        audit_nodes.c.position >= bindparam("start"),
        audit_nodes.c.position < bindparam("stop"),
    )
    .order_by(audit_nodes.c.position)
)


def root(connection: Connection, of_size: int) -> bytes:
    """Return the root of the tree of the first `of_size` entries. Raises KeyError if one that it needs is missing."""
    return merkle.root_of(of_size, node_reader(connection))


def node_reader(connection: Connection) -> Callable[[int, int], bytes]:
    """Return a function that reads the stored hash at (level, position); level 0 contains the leaves. It computes a
    missing node from the two below it, with an alert, and raises KeyError if that needs an entry that is missing too.
    """

    def stored_or_built(level: int, position: int) -> tuple[bytes, bool]:
        place = {"position": position} if level == 0 else {"level": level, "position": position}
        value = hash_in(connection.execute(_LEAF if level == 0 else _NODE, place).scalar())
        if value is not None:
            return value, True
        if level == 0:
            raise KeyError(position)
        left, right = (stored_or_built(level - 1, 2 * position + side)[0] for side in (0, 1))
        return merkle.node_hash(left, right), False

    def node(level: int, position: int) -> bytes:
        value, stored = stored_or_built(level, position)
        if not stored:
            log.error("log_damaged", missing=f"node {position} of level {level}", alert=True)
        return value

    return node


def hash_in(value: object) -> bytes | None:
    """Return a stored hash, or None for anything else: SQLite accepts any value in any column."""
    found = bytes(value) if isinstance(value, (bytes, memoryview)) else b""
    return found if len(found) == merkle.HASH_BYTES else None


def completed_by(sequence: int, leaf: bytes, node: merkle.Node) -> dict[tuple[int, int], bytes]:
    """Return the nodes that a leaf completes, by (level, position); none if the log is too damaged to compute them. A
    write, above all a deletion, must not fail because of that; `complete_tree` can add them later.
    """
    try:
        return {(level, position): value for level, position, value in merkle.nodes_completed_by(sequence, leaf, node)}
    except KeyError as missing:
        log.error("log_damaged", missing=f"entry {missing}", alert=True)
        return {}


def complete_tree(connection: Connection) -> None:
    """Store the missing nodes again, computed from those below them. A node above a missing entry stays missing, and an
    altered one is left as it is.
    """
    entries, node = audit_size.size(connection), node_reader(connection)
    counts = select(audit_nodes.c.level, func.count().label("nodes")).group_by(audit_nodes.c.level)
    stored = {row.level: row.nodes for row in connection.execute(counts)}
    for level in range(1, entries.bit_length()):
        expected = entries >> level
        if stored.get(level, 0) >= expected:
            continue
        there = set(connection.execute(select(audit_nodes.c.position).where(audit_nodes.c.level == level)).scalars())
        rows: list[tuple[object, ...]] = []
        for position in (each for each in range(expected) if each not in there):
            with suppress(KeyError):
                value = merkle.node_hash(node(level - 1, 2 * position), node(level - 1, 2 * position + 1))
                rows.append((level, position, value))
        if rows:
            insert_rows(connection, NODE_COLUMNS, rows)


def raw_nodes(connection: Connection, level: int, start: int, stop: int) -> list[bytes]:
    """Return the interior nodes of a level from position `start` up to `stop`; missing ones are left out."""
    result = connection.execute(_RAW_NODES, {"level": level, "start": start, "stop": stop})
    return [value for (value,) in result.cursor.fetchall()]


def stored_size(connection: Connection) -> int:
    """Return the least number of entries that the stored interior nodes require; 0 without nodes."""
    query = select(audit_nodes.c.level, func.max(audit_nodes.c.position)).group_by(audit_nodes.c.level)
    return max((((position + 1) << level) for level, position in connection.execute(query) if level < 63), default=0)
