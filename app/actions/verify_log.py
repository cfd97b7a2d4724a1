"""Check the whole log: every entry, every stored node of its tree, every checkpoint; name the first that fails.

Reads page by page, each page in a short transaction: a reader that stays would keep destroyed keys in SQLite's
write-ahead log. Entries that arrive meanwhile are checked too, up to the size the log had at the start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.crypto import merkle
from app.crypto.errors import NoteInvalid
from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_rows, service_rows
from app.db.audit_rows import StoredCheckpoint, StoredEntry
from app.domain.audit_events import Event, log_time
from app.resources import Resources
from app.storage.signing_folder import SigningFolder

PAGE = 2_000


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What the check found: None means that nothing failed. `sequence` is the first entry concerned, where one is."""

    entries: int
    checkpoints: int
    problem: str | None = None
    sequence: int | None = None


class _Found(Exception):
    """The first thing that is wrong."""

    def __init__(self, problem: str, sequence: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.sequence = problem, sequence


def verify_log(
    resources: Resources, signing: SigningFolder, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> LogVerdict:
    """Verify. `progress` is told how many entries of how many are done."""
    with resources.database.reading() as connection:
        size = audit_rows.size(connection)
        notes = list(audit_rows.checkpoints(connection))
        origin = service_rows.get(connection).log_origin
    try:
        expected, other_origins = _signed_roots(notes, origin, signing)
        quoted = _check_entries(resources, size, expected, progress)
        _require_given_up(other_origins, quoted)
    except _Found as found:
        return LogVerdict(size, len(notes), found.problem, found.sequence)
    return LogVerdict(size, len(notes))


def _signed_roots(
    notes: list[StoredCheckpoint], origin: str, signing: SigningFolder
) -> tuple[dict[int, bytes], dict[str, int]]:
    """The roots that were signed, by size: those in the database, and the last one, which is kept outside it. And the
    other origins that checkpoints carry, each with a size: those of before a restored database was accepted.
    """
    public_key = signing.verifier_key()
    kept = signing.last_checkpoint()
    if public_key is None or kept is None:
        if notes:
            raise _Found("there are checkpoints, but the signing folder has no public key or checkpoint")
        return {}, {}
    verifier = Verifier.parse(public_key)
    signed: dict[int, bytes] = {}
    others: dict[str, int] = {}
    for note, size in [*((stored.note, stored.size) for stored in notes), (kept, None)]:
        if _origin_of(note) != origin:
            others[_origin_of(note)] = size or 0
            continue
        try:
            checkpoint = Checkpoint.parse(verifier.verify(note))
        except NoteInvalid as error:
            raise _Found(f"the checkpoint over {size} entries is not what was signed: {error}") from None
        if checkpoint.origin != origin or (size is not None and checkpoint.size != size):
            raise _Found(f"the checkpoint over {checkpoint.size} entries belongs to another log or size")
        if signed.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            raise _Found(f"two checkpoints over {checkpoint.size} entries contradict each other: the log was forked")
    return signed, others


def _origin_of(note: str) -> str:
    return note.partition("\n")[0]


def _require_given_up(origins: dict[str, int], quoted: set[str]) -> None:
    """A checkpoint of another origin is no contradiction if the log itself quotes that origin as given up."""
    for origin, size in origins.items():
        if origin not in quoted:
            which = f"the checkpoint over {size} entries" if size else "the last checkpoint"
            raise _Found(f"{which} belongs to another log, and no restored database explains it")


def _check_entries(
    resources: Resources, size: int, signed: dict[int, bytes], progress: Callable[[int, int], None]
) -> set[str]:
    """Recompute the tree from the entries' content; compare leaves, stored nodes and signed roots as they come.
    Answers the origins that were given up: the log quotes a checkpoint of each.
    """
    quoted: set[str] = set()
    frontier = merkle.Frontier()
    since = 0
    if signed.get(0, merkle.EMPTY_ROOT) != merkle.EMPTY_ROOT:
        raise _Found("the checkpoint over no entries has another root than the empty log")
    nodes = _StoredNodes(resources)
    for entry in _entries(resources, size):
        if entry.sequence != frontier.size:
            raise _Found("an entry is missing", frontier.size)
        fields = _checked_fields(entry)
        if fields.get("event") == Event.DATABASE_RESTORED:
            quoted.add(_origin_of(str(fields.get("quoted"))))
        frontier.append(entry.leaf_hash)
        nodes.check(entry.sequence, entry.leaf_hash)
        if frontier.size in signed:
            if signed[frontier.size] != frontier.root():
                raise _Found(f"entries {since} to {entry.sequence} are not those that were signed", since)
            since = frontier.size
        if frontier.size % PAGE == 0:
            progress(frontier.size, size)
    beyond = [signed_size for signed_size in signed if signed_size > frontier.size]
    if frontier.size != size or beyond:
        raise _Found(
            f"the log was cut: {max([size, *beyond])} entries existed, {frontier.size} are left", frontier.size
        )
    progress(size, size)
    return quoted


def _entries(resources: Resources, size: int) -> Iterator[StoredEntry]:
    start = 0
    while start < size:
        with resources.database.reading() as connection:
            page = audit_rows.page(connection, start, min(PAGE, size - start))
        if not page:
            return
        yield from page
        start = page[-1].sequence + 1


def _checked_fields(entry: StoredEntry) -> dict[str, object]:
    if entry.content is None:
        raise _Found("an entry's content was removed without being pruned", entry.sequence)
    if merkle.leaf_hash(entry.content.encode()) != entry.leaf_hash:
        raise _Found("an entry was changed", entry.sequence)
    fields = _fields_of(entry.content)
    if fields.get("sequence") != entry.sequence:
        raise _Found("entries were reordered", entry.sequence)
    if fields.get("time") != log_time(entry.at):
        raise _Found("an entry's time was changed beside its content", entry.sequence)
    return fields


def _fields_of(content: str) -> dict[str, object]:
    """What an entry's content says; nothing of what is no entry at all."""
    try:
        fields = json.loads(content)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


class _StoredNodes:
    """Compares the stored interior nodes with those that the leaves make, level by level, in constant memory."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._left: dict[int, bytes] = {}
        self._levels: dict[int, Iterator[tuple[int, bytes]]] = {}

    def check(self, sequence: int, leaf: bytes) -> None:
        """Take the next leaf; compare every node that it completes."""
        completed = merkle.nodes_completed_by(sequence, leaf, lambda level, _position: self._left[level])
        for level, position, value in completed:
            if next(self._level(level), None) != (position, value):
                raise _Found(f"the tree's stored node {level}/{position} is not that of its entries", sequence)
        level, value = (completed[-1][0], completed[-1][2]) if completed else (0, leaf)
        self._left[level] = value

    def _level(self, level: int) -> Iterator[tuple[int, bytes]]:
        if level not in self._levels:
            self._levels[level] = self._read(level)
        return self._levels[level]

    def _read(self, level: int) -> Iterator[tuple[int, bytes]]:
        start = 0
        while True:
            with self._resources.database.reading() as connection:
                page = audit_rows.stored_nodes(connection, level, start, PAGE)
            if not page:
                return
            yield from page
            start = page[-1][0] + 1
