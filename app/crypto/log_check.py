"""Checks a stretch of the audit log: every entry against its hash, every stored node against its entries.

A log is cut into stretches of 2**15 entries, each the whole subtree under one node; `app.crypto.log_verifier` combines
their reports. Bytes come from a source, the database or an exported file. The loops are written for speed: checking a
million entries should take at most three times as long as reading and hashing them (docs/performance.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import zip_longest
from typing import Protocol

from app.domain.log_verdict import Finding, Kind, Tampered

STRETCH_LEVEL = 15
STRETCH = 1 << STRETCH_LEVEL
PAGE = 1 << 14
"""Entries read in one short transaction: an open reader would keep destroyed keys in SQLite's WAL."""

Row = tuple[int, str | None, bytes, int]
"""Sequence number, content (None once pruned), leaf hash, and the time column in microseconds since 1970."""

StoredNodes = Callable[[int, int, int], Sequence[bytes]]
"""Returns the stored nodes of (level, start, stop); missing nodes are left out."""


class LogSource(Protocol):
    """A source of entries. Within a stretch, pages are read in order."""

    @property
    def seconds(self) -> Mapping[str, str] | None:
        """The text of a time in an entry's content, up to its second, by the digits of the Unix second; None if the
        source has no time column.
        """
        ...

    def page(self, start: int, stop: int) -> AbstractContextManager[tuple[Iterable[Row], StoredNodes | None]]:
        """Yield the rows from `start` up to `stop`, and the stored nodes that they complete (None: not available)."""
        ...


@dataclass
class StretchReport:
    """The result for one stretch: the roots of its complete subtrees, largest first, at its end (`peaks`) and at each
    signed size (`peaks_at`); the entries that explain gaps (`statements`); the runs of entries without content
    (`bare`); and the first failure.
    """

    start: int
    stop: int
    peaks: list[bytes] = field(default_factory=list)
    peaks_at: dict[int, list[bytes]] = field(default_factory=dict)
    statements: list[tuple[int, str]] = field(default_factory=list)
    bare: list[tuple[int, int]] = field(default_factory=list)
    finding: Finding | None = None


def check_stretch(
    source: LogSource, start: int, stop: int, *, signed: Sequence[int], pruned_below: int
) -> StretchReport:
    """Check the entries from `start`, a multiple of STRETCH, up to `stop`. `signed` are the sizes of the checkpoints;
    from `pruned_below` on, every entry must have its content.
    """
    report = StretchReport(start, stop)
    tree = GrowingTree(start, top=STRETCH_LEVEL)
    marks = sorted(size for size in signed if start < size <= stop)
    try:
        for first in range(start, stop, PAGE):
            last = min(first + PAGE, stop)
            with source.page(first, last) as (rows, nodes):
                leaves, wrong = _check_rows(rows, first, source, report)
            _grow(tree, leaves, nodes, [mark for mark in marks if first < mark <= last], report)
            if wrong is None and len(leaves) < last - first:
                wrong = Tampered(Kind.REMOVED, "an entry is missing", first + len(leaves))
            _require_pruned(report, pruned_below)
            if wrong is not None:
                raise wrong
    except Tampered as tampered:
        report.finding = tampered.finding
    report.peaks = tree.peaks()
    return report


def _check_rows(
    rows: Iterable[Row], first: int, source: LogSource, report: StretchReport
) -> tuple[list[bytes], Tampered | None]:
    """Return the leaf hashes of the rows before the first failure, and that failure, or None."""
    leaves: list[bytes] = []
    seconds, expected = source.seconds, first
    for sequence, content, stored, at in rows:
        if sequence != expected:
            return leaves, Tampered(Kind.REMOVED, "an entry is missing", expected)
        if content is None:
            _note_bare(report, sequence)
            leaves.append(stored)
        else:
            leaf = sha256(b"\x00" + content.encode()).digest()
            # Canonical JSON has one spelling, and its strings cannot contain a bare quote: searching the text suffices.
            if leaf != stored or f'"sequence":{expected},' not in content:
                return leaves, _what_is_wrong(sequence, content, same_hash=leaf == stored)
            if seconds is not None:
                digits = str(at)
                if f'{seconds[digits[:-6]]}{digits[-6:]}Z"' not in content:
                    return leaves, _what_is_wrong(sequence, content, same_hash=True)
            if '"transfer":' not in content and ('"quoted":' in content or '"below":' in content):
                report.statements.append((sequence, content))
            leaves.append(leaf)
        expected += 1
    return leaves, None


def _what_is_wrong(sequence: int, content: str, *, same_hash: bool) -> Tampered:
    """Return the failure of one entry."""
    if not same_hash:
        return Tampered(Kind.CHANGED, "an entry was changed", sequence)
    fields = fields_of(content)
    said, time = fields.get("sequence"), fields.get("time")
    if isinstance(said, int) and said != sequence:
        return Tampered(Kind.REORDERED, "entries were reordered", sequence)
    if f'"sequence":{sequence},' in content and f'"time":"{time}"' in content:
        return Tampered(Kind.CHANGED, "the time in an entry's column differs from its content", sequence)
    return Tampered(Kind.CHANGED, "the content is not a log entry", sequence)


def fields_of(content: str) -> dict[str, object]:
    """Return the fields of an entry's content; an empty dictionary if it is not a JSON object."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _note_bare(report: StretchReport, sequence: int) -> None:
    if report.bare and report.bare[-1][1] == sequence:
        report.bare[-1] = (report.bare[-1][0], sequence + 1)
    else:
        report.bare.append((sequence, sequence + 1))


def _require_pruned(report: StretchReport, pruned_below: int) -> None:
    if report.bare and report.bare[-1][1] > pruned_below:
        first = next(max(start, pruned_below) for start, stop in report.bare if stop > pruned_below)
        raise Tampered(Kind.REMOVED, "an entry's content was removed without being pruned", first)


def _grow(
    tree: GrowingTree, leaves: list[bytes], stored: StoredNodes | None, marks: list[int], report: StretchReport
) -> None:
    """Add a page's leaves to the tree, and record its peaks at each signed size."""
    first, done = tree.size, 0
    for mark in marks:
        if first + len(leaves) < mark:
            break
        tree.add(leaves[done : mark - first], stored)
        done = mark - first
        report.peaks_at[mark] = tree.peaks()
    tree.add(leaves[done:], stored)


class GrowingTree:
    """A tree that grows from the first leaf of a complete subtree, level by level, and compares nodes as they become
    complete. With `level`, its leaves are the nodes of that level.
    """

    def __init__(self, first: int = 0, *, level: int = 0, top: int = 64) -> None:
        """Start before leaf number `first`; nodes of the level `top` are not combined."""
        self._next, self._level, self._top = first, level, top
        self._lone: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """The number of the next leaf."""
        return self._next

    def add(self, hashes: Sequence[bytes], stored: StoredNodes | None) -> None:
        """Add the next leaves. Raises Tampered for the first stored node that differs from the computed one."""
        level, position, row = self._level, self._next, list(hashes)
        self._next += len(row)
        wrong: list[tuple[int, int, int]] = []
        while row and level < self._top:
            if position & 1:
                row.insert(0, self._lone.pop(level))
                position -= 1
            if len(row) & 1:
                self._lone[level] = row.pop()
            pairs = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            level, position = level + 1, position >> 1
            if row and stored is not None:
                found = stored(level, position, position + len(row))
                wrong += _first_other(row, found, level, position)
        if row:
            self._lone[level] = row[0]
        if wrong:
            sequence, level, position = min(wrong)
            raise Tampered(
                Kind.CHANGED, f"the tree's stored node {level}/{position} is not that of its entries", sequence
            )

    def peaks(self) -> list[bytes]:
        """Return the roots of the complete subtrees that make up the tree, largest first."""
        return [self._lone[level] for level in sorted(self._lone, reverse=True)]


def _first_other(row: Sequence[bytes], found: Sequence[bytes], level: int, position: int) -> list[tuple[int, int, int]]:
    """Return the first stored node of a level that differs, as a list of (last entry below it, level, position)."""
    if row == found:
        return []
    at = next(each for each, (one, other) in enumerate(zip_longest(row, found)) if one != other) + position
    return [(((at + 1) << level) - 1, level, at)]
