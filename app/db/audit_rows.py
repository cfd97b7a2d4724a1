"""Rows of the audit log: appending entries, and reading the Merkle tree (RFC 6962) they are the leaves of.

`Database.writing` appends at the end of each transaction; nobody else does. Complete interior nodes are stored when
their last leaf arrives, so that an append and a root cost O(log n).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, and_, bindparam, exists, func, insert, select, text, type_coerce, update
from sqlalchemy.types import NullType

from app.crypto import merkle
from app.crypto.canonical_json import canonical_json
from app.crypto.encoding import encode
from app.crypto.log_check import Row, fields_of
from app.db.tables import audit_boundaries, audit_checkpoints, audit_entries, audit_nodes, microseconds
from app.domain.audit_events import EXPLAINING, Entry, Event

log = structlog.get_logger()

SALT_BYTES = 16
_NEIGHBOURS = 1_000
"""So many altered entries in a row are looked past for one that can be believed."""

_LARGEST = 2**53 - 2
"""No number above this is believed: an entry with the next one could not be written (RFC 8785, section 3.2.2.3)."""
_PAGE = 1_000
_APPEND_LOCK = 0x43414455  # any number that nothing else locks; "CADU"

# What every act says is built once: building a statement costs several times what running it does.
_TOP = select(func.max(audit_entries.c.sequence).label("last")).subquery()
_PAIR = exists().where(audit_nodes.c.level == 1, audit_nodes.c.position == (_TOP.c.last - 1) // 2)
_LAST = select(_TOP.c.last, _PAIR)
_LEAF = select(type_coerce(audit_entries.c.leaf_hash, NullType())).where(
    audit_entries.c.sequence == bindparam("position")
)
_NODE = select(type_coerce(audit_nodes.c.hash, NullType())).where(
    audit_nodes.c.level == bindparam("level"), audit_nodes.c.position == bindparam("position")
)
_ENTRY = select(audit_entries.c.sequence, audit_entries.c.content, audit_entries.c.leaf_hash, audit_entries.c.at)
_RAW_ENTRIES = _ENTRY.where(
    audit_entries.c.sequence >= bindparam("start"), audit_entries.c.sequence < bindparam("stop")
).order_by(audit_entries.c.sequence)
_RAW_NODES = (
    select(audit_nodes.c.hash)
    .where(
        audit_nodes.c.level == bindparam("level"),
        audit_nodes.c.position >= bindparam("start"),
        audit_nodes.c.position < bindparam("stop"),
    )
    .order_by(audit_nodes.c.position)
)


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Append entries in their order, inside the caller's transaction."""
    if not entries:
        return
    if connection.dialect.name == "postgresql":
        # One sequence without gaps needs one writer at a time; released at the commit.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    sequence, is_last = _end(connection)
    occupied = {} if is_last else _leaves_from(connection, sequence, len(entries))
    stored = node_reader(connection)
    fresh: dict[tuple[int, int], bytes] = {}

    def node(level: int, position: int) -> bytes:
        known = fresh.get((level, position))
        return known if known is not None else stored(level, position)

    rows: list[tuple[object, ...]] = []
    salts = memoryview(secrets.token_bytes(SALT_BYTES * len(entries)))
    for place, entry in enumerate(entries):
        while sequence in occupied:  # somebody wrote a row there; it becomes a leaf like any other, and is red
            fresh |= {(0, sequence): occupied[sequence]} | _completed_by(sequence, occupied[sequence], node)
            sequence += 1
        salt = encode(bytes(salts[place * SALT_BYTES : (place + 1) * SALT_BYTES]))
        content = canonical_json(entry.content(sequence, salt))
        leaf = merkle.leaf_hash(content)
        rows.append((sequence, microseconds(entry.at), content.decode(), leaf))
        fresh[0, sequence] = leaf
        fresh.update(_completed_by(sequence, leaf, node))
        sequence += 1
    _insert(connection, "audit_entries (sequence, at, content, leaf_hash)", rows)
    nodes: list[tuple[object, ...]] = [
        (level, position, value) for (level, position), value in fresh.items() if level > 0
    ]
    if nodes:
        _insert(connection, "audit_nodes (level, position, hash)", nodes, unless_there=True)


def _completed_by(sequence: int, leaf: bytes, node: merkle.Node) -> dict[tuple[int, int], bytes]:
    """The nodes that a leaf completes; none where the log is damaged beyond that: an act, a deletion above all, must
    not fail for it. They can be built later from what is below them.
    """
    try:
        return {(level, position): value for level, position, value in merkle.nodes_completed_by(sequence, leaf, node)}
    except KeyError as missing:
        log.error("log_damaged", missing=f"entry {missing}", alert=True)
        return {}


def _insert(connection: Connection, into: str, rows: list[tuple[object, ...]], *, unless_there: bool = False) -> None:
    """Thousands at a time: SQLAlchemy's care for each row would cost several times what the insert does.
    `unless_there`: leave a row of the same key as it is, rather than fail; verification names it.
    """
    rest = " ON CONFLICT DO NOTHING" if unless_there else ""
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    marks = ", ".join([mark] * len(rows[0]))
    connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({marks}){rest}", rows)  # noqa: S608 - names of ours alone


def size(connection: Connection) -> int:
    """How many entries the log has. A row beyond a gap that the tree knows nothing of is none (`stray_entry`)."""
    return _end(connection)[0]


def stray_entry(connection: Connection) -> int | None:
    """The number of a row that is no entry of the log: before the first one, or beyond its end; None without one."""
    sequence, (end, is_last) = audit_entries.c.sequence, _end(connection)
    if not is_last:
        return connection.execute(select(func.min(sequence)).where(sequence >= end)).scalar()
    return connection.execute(select(func.max(sequence)).where(sequence < 0)).scalar()


def _end(connection: Connection) -> tuple[int, bool]:
    """The number after the last entry, and whether it is the highest number stored.

    The last entry is the highest one of which the node over it, or over the pair before it, is stored: each append
    stores that. An entry may be missing below it; a row that somebody wrote further up has no such node.
    """
    last, has_pair = connection.execute(_LAST).one()
    if last is None or last < 0:
        return 0, True
    if last == 0 or (has_pair and last <= _LARGEST):
        return last + 1, True
    end = _end_of_run(connection)
    return end, end == last + 1


def _end_of_run(connection: Connection) -> int:
    """The end of the log where rows were written beyond it, or nodes removed: that of the run of entries around the
    highest one that the tree knows. At most every second entry is missing.
    """
    sequence, bound = audit_entries.c.sequence, min(2 * count(connection) + _PAGE, _LARGEST)
    below = select(sequence).where(sequence >= 0, sequence < bound).order_by(sequence.desc()).limit(_PAGE)
    highest = list(connection.execute(below).scalars())
    node = select(audit_nodes.c.position).where(audit_nodes.c.level == 1)
    pairs = node.where(audit_nodes.c.position.in_({(each - 1) // 2 for each in highest}))
    known = set(connection.execute(pairs).scalars())
    end: int | None = next((each + 1 for each in highest if (each - 1) // 2 in known), None)
    end = _end_of_longest_run(highest[::-1]) if end is None else end
    while True:
        after = select(sequence).where(sequence >= end, sequence < end + _PAGE).order_by(sequence)
        run = connection.execute(after).scalars().all()
        steps = next((place for place, each in enumerate(run) if each != end + place), len(run))
        end += steps
        if steps < _PAGE:
            return end


def _end_of_longest_run(numbers: Sequence[int]) -> int:
    """Where the longest run among these ascending numbers ends, the first of several: all there is to go by where no
    node is left.
    """
    longest, end, length = 0, 0, 0
    for place, number in enumerate(numbers):
        length = length + 1 if place and numbers[place - 1] == number - 1 else 1
        if length > longest:
            longest, end = length, number + 1
    return end if longest > 1 or (numbers and numbers[0] == 0) else 0


def _leaves_from(connection: Connection, start: int, entries: int) -> dict[int, bytes]:
    """The leaves of rows that stand where so many entries are to be appended; of one without a hash, zeros."""
    stop = start + 2 * entries + _PAGE
    rows = select(audit_entries.c.sequence, type_coerce(audit_entries.c.leaf_hash, NullType())).where(
        audit_entries.c.sequence >= start, audit_entries.c.sequence < stop
    )
    return {number: _hash(value) or bytes(merkle.HASH_BYTES) for number, value in connection.execute(rows)}


def _hash(value: object) -> bytes | None:
    """A stored hash; None for anything else: SQLite takes any value anywhere."""
    found = bytes(value) if isinstance(value, (bytes, memoryview)) else b""
    return found if len(found) == merkle.HASH_BYTES else None


def count(connection: Connection) -> int:
    """How many entries are stored: fewer than `size` where some are missing."""
    return connection.execute(select(func.count()).select_from(audit_entries)).scalar_one()


def node_reader(connection: Connection) -> Callable[[int, int], bytes]:
    """A function that reads the stored hash at (level, position); level 0 are the leaves. A node that is missing is
    built from the two below it, loudly: somebody has taken it. KeyError where that ends at an entry that is gone too.
    """

    def stored_or_built(level: int, position: int) -> tuple[bytes, bool]:
        place = {"position": position} if level == 0 else {"level": level, "position": position}
        value = _hash(connection.execute(_LEAF if level == 0 else _NODE, place).scalar())
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


def root(connection: Connection, of_size: int) -> bytes:
    """The root of the tree of the first `of_size` entries."""
    return merkle.root_of(of_size, node_reader(connection))


def complete_tree(connection: Connection) -> None:
    """Store anew the nodes that are missing, computed from what is left below them. A node that lies over a missing
    entry stays missing, and one that was changed stays as it is.
    """
    entries, node = size(connection), node_reader(connection)
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
            _insert(connection, "audit_nodes (level, position, hash)", rows)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it is stored: its content is None once pruned."""

    sequence: int
    content: str | None
    leaf_hash: bytes
    at: datetime

    def fields(self) -> dict[str, object]:
        """The content as an object; empty once pruned, and for what is no entry at all."""
        return fields_of(self.content) if self.content else {}

    def logged_at(self) -> datetime | None:
        """The time in a content that hashes to its leaf; None where none can be believed."""
        if self.content is None or merkle.leaf_hash(self.content.encode()) != self.leaf_hash:
            return None
        try:
            moment = datetime.fromisoformat(str(self.fields().get("time")))
        except ValueError:
            return None
        return moment if moment.tzinfo is not None else None


def page(connection: Connection, start: int, limit: int) -> list[StoredEntry]:
    """Up to `limit` entries from sequence `start` on. Long reads go page by page, each in a transaction of its own:
    an open reader would keep destroyed keys in SQLite's write-ahead log.
    """
    query = _ENTRY.where(audit_entries.c.sequence >= start).order_by(audit_entries.c.sequence).limit(limit)
    return [StoredEntry(*row) for row in connection.execute(query)]


@contextmanager
def raw_page(connection: Connection, start: int, stop: int) -> Iterator[Iterator[Row]]:
    """The entries from sequence `start` up to `stop` as the driver gives them, one after the other, for a reader in a
    hurry (SQLAlchemy's own rows cost as much again as reading and hashing an entry): sequence, content, leaf hash,
    microseconds since 1970.
    """
    result = connection.execute(_RAW_ENTRIES, {"start": start, "stop": stop})
    rows: Any = result.cursor  # both drivers' cursors can be iterated over, which DB-API leaves open
    try:
        yield iter(rows)
    finally:
        result.close()  # one that was not read to its end would keep the snapshot open, and the write-ahead log long


def raw_nodes(connection: Connection, level: int, start: int, stop: int) -> list[bytes]:
    """The interior nodes of a level from position `start` up to `stop`; fewer where some are missing."""
    result = connection.execute(_RAW_NODES, {"level": level, "start": start, "stop": stop})
    return [value for (value,) in result.cursor.fetchall()]


def stored_size(connection: Connection) -> int:
    """How many entries there must have been for the interior nodes that are stored; 0 without any."""
    query = select(audit_nodes.c.level, func.max(audit_nodes.c.position)).group_by(audit_nodes.c.level)
    return max((((position + 1) << level) for level, position in connection.execute(query) if level < 63), default=0)


def first_since(connection: Connection, moment: datetime, start: int = 0) -> int:
    """The sequence of the first entry from `start` on of that moment or later, by bisection: a dozen or two reads.
    Entries are in the order of their commits; their times may be out of order by as long as a transaction lasts.

    Times are those in the contents, which the log's tree vouches for. The column `at` is an index for reports, and
    whoever writes to the database can set it. An entry whose content is gone or altered counts by its position: as
    one with the next entry that can be believed.
    """
    low, high = start, size(connection)
    while low < high:
        middle = (low + high) // 2
        found = _first_sound(connection, middle, high)
        if found is not None and found[1] < moment:
            low = found[0] + 1
        else:
            high = middle
    return low


def _first_sound(connection: Connection, start: int, stop: int) -> tuple[int, datetime] | None:
    """Number and time of the first entry from `start` on and before `stop` that can be believed."""
    query = _ENTRY.where(audit_entries.c.sequence >= start, audit_entries.c.sequence < stop)
    for row in connection.execute(query.order_by(audit_entries.c.sequence).limit(_NEIGHBOURS)):
        entry = StoredEntry(*row)
        logged_at = entry.logged_at()
        if logged_at is not None:
            return entry.sequence, logged_at
    return None


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed note over the log's first `size` entries."""

    size: int
    at: datetime
    note: str


def last_checkpoint(connection: Connection, *, within: int | None = None) -> StoredCheckpoint | None:
    """The newest checkpoint; the newest over no more than so many entries."""
    query = select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc()).limit(1)
    if within is not None:
        query = query.where(audit_checkpoints.c.size <= within)
    row = connection.execute(query).first()
    return StoredCheckpoint(*row) if row else None


def checkpoints(connection: Connection) -> Iterator[StoredCheckpoint]:
    """All checkpoints, oldest first."""
    for row in connection.execute(select(audit_checkpoints).order_by(audit_checkpoints.c.size)):
        yield StoredCheckpoint(*row)


def checkpoint_page(connection: Connection, after: int, upto: int, limit: int) -> list[StoredCheckpoint]:
    """Up to `limit` checkpoints over more than `after` entries and `upto` at most, in order."""
    size_ = audit_checkpoints.c.size
    query = select(audit_checkpoints).where(size_ > after, size_ <= upto).order_by(size_).limit(limit)
    return [StoredCheckpoint(*row) for row in connection.execute(query)]


def remove_checkpoints(connection: Connection, sizes: Sequence[int]) -> None:
    """Let checkpoints go that later ones stand for."""
    connection.execute(audit_checkpoints.delete().where(audit_checkpoints.c.size.in_(sizes)))


def add_checkpoint(connection: Connection, checkpoint: StoredCheckpoint) -> None:
    """Store a checkpoint; one of the same size is replaced (the hourly one of an idle log)."""
    table = audit_checkpoints
    values = {"at": checkpoint.at, "note": checkpoint.note}
    changed = connection.execute(table.update().where(table.c.size == checkpoint.size).values(values)).rowcount
    if not changed:
        connection.execute(insert(table).values(size=checkpoint.size, **values))


def pruned_below(connection: Connection) -> int:
    """Entries below this sequence have lost their content, or are about to."""
    return connection.execute(select(func.max(audit_boundaries.c.below))).scalar() or 0


def add_boundary(connection: Connection, below: int) -> None:
    """Let the content of entries below this go: in the transaction of the entry that says so."""
    connection.execute(insert(audit_boundaries).values(below=below))


_PRUNED = audit_entries.c.sequence < bindparam("stop")
_HELD = audit_entries.c.content.is_not(None)
_TELLING = and_(*(audit_entries.c.content.not_like(f'%"event":"{event.value}"%') for event in EXPLAINING))


def first_unpruned(connection: Connection, below: int) -> int | None:
    """The first entry below this that still has content to lose."""
    query = select(audit_entries.c.sequence).where(_PRUNED, _HELD, _TELLING).order_by(audit_entries.c.sequence)
    return connection.execute(query.limit(1), {"stop": below}).scalar()


def prune(connection: Connection, start: int, stop: int) -> None:
    """Take the content of entries from `start` up to `stop`, but of those that explain the log itself. The database
    refuses what no boundary allows.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.caducee_prune_audit(start, stop)))
        return
    wanted = update(audit_entries).where(audit_entries.c.sequence >= bindparam("start"), _PRUNED, _HELD, _TELLING)
    connection.execute(wanted.values(content=None), {"start": start, "stop": stop})


def find_deletion(connection: Connection, transfer_id: str) -> StoredEntry | None:
    """The last entry `transfer.deleted` of a transfer; None once it was pruned, or without any."""
    of_it = audit_entries.c.transfer == transfer_id, audit_entries.c.event == Event.TRANSFER_DELETED
    row = connection.execute(_ENTRY.where(*of_it).order_by(audit_entries.c.sequence.desc()).limit(1)).first()
    return StoredEntry(*row) if row else None
