"""Where the audit log ends, even if someone with write access inserted rows beyond its end or removed tree nodes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, exists, func, select

from app.db.tables import audit_entries, audit_nodes

PAGE = 1_000

_LARGEST = 2**53 - 2
"""Largest sequence number accepted: the next one could not be written in an entry (RFC 8785, section 3.2.2.3)."""

# Built once, because building a statement takes several times as long as running it.
_TOP = select(func.max(audit_entries.c.sequence).label("last")).subquery()
_PAIR = exists().where(audit_nodes.c.level == 1, audit_nodes.c.position == (_TOP.c.last - 1) // 2)
_LAST = select(_TOP.c.last, _PAIR)


def size(connection: Connection) -> int:
    """Return the number of entries of the log. A row beyond a gap, which the tree does not contain, is no entry
    (`stray_entry`).
    """
    return end(connection)[0]


def count(connection: Connection) -> int:
    """Return the number of stored entries: less than `size` if some are missing."""
    return connection.execute(select(func.count()).select_from(audit_entries)).scalar_one()


def stray_entry(connection: Connection) -> int | None:
    """Return the sequence number of a row that is no entry of the log, before its first or beyond its last; or None."""
    sequence, (stop, is_last) = audit_entries.c.sequence, end(connection)
    if not is_last:
        return connection.execute(select(func.min(sequence)).where(sequence >= stop)).scalar()
    return connection.execute(select(func.max(sequence)).where(sequence < 0)).scalar()


def end(connection: Connection) -> tuple[int, bool]:
    """Return the number after the last entry, and whether no row has a higher number than that entry.

    The last entry is the highest whose parent node, or the parent of the pair before it, is stored: each append stores
    one. Entries below it may be missing. A row that someone inserted further up has no such node.
    """
    last, has_pair = connection.execute(_LAST).one()
    if last is None or last < 0:
        return 0, True
    if last == 0 or (has_pair and last <= _LARGEST):
        return last + 1, True
    stop = _end_of_run(connection)
    return stop, stop == last + 1


def _end_of_run(connection: Connection) -> int:
    """Return the end of the log if rows were inserted beyond it, or nodes removed: the end of the run of entries around
    the highest one that has a node. Assumes that at most every second entry is missing.
    """
    sequence, bound = audit_entries.c.sequence, min(2 * count(connection) + PAGE, _LARGEST)
    below = select(sequence).where(sequence >= 0, sequence < bound).order_by(sequence.desc()).limit(PAGE)
    highest = list(connection.execute(below).scalars())
    node = select(audit_nodes.c.position).where(audit_nodes.c.level == 1)
    pairs = node.where(audit_nodes.c.position.in_({(each - 1) // 2 for each in highest}))
    known = set(connection.execute(pairs).scalars())
    stop: int | None = next((each + 1 for each in highest if (each - 1) // 2 in known), None)
    stop = _end_of_longest_run(highest[::-1]) if stop is None else stop
    while True:
        after = select(sequence).where(sequence >= stop, sequence < stop + PAGE).order_by(sequence)
        run = connection.execute(after).scalars().all()
        steps = next((place for place, each in enumerate(run) if each != stop + place), len(run))
        stop += steps
        if steps < PAGE:
            return stop


def _end_of_longest_run(numbers: Sequence[int]) -> int:
    """Return the end of the longest run of consecutive numbers among these ascending ones, the first of several. In a
    log without nodes, nothing else indicates the end.
    """
    longest, stop, length = 0, 0, 0
    for place, number in enumerate(numbers):
        length = length + 1 if place and numbers[place - 1] == number - 1 else 1
        if length > longest:
            longest, stop = length, number + 1
    return stop if longest > 1 or (numbers and numbers[0] == 0) else 0
