"""Verify an exported log offline, without a data folder or a server, against a public key that the caller supplies.

The checks are those of the log itself, except for what an export lacks: stored nodes, and the column with the time.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.crypto.log_check import STRETCH, Row, StretchReport, check_stretch
from app.crypto.log_verifier import HeldNote, LogHead, LogVerifier
from app.crypto.merkle import HASH_BYTES, leaf_hash
from app.crypto.signed_note import Verifier
from app.domain.log_export import FORMAT
from app.domain.log_verdict import LogVerdict

MAX_LINE_BYTES = 1 << 20


class ExportUnreadable(Exception):
    """The file is not a log export, or is truncated."""


def verify_export(
    file: Path,
    public_key: str,
    *,
    since: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> LogVerdict:
    """Return the verdict. Raises ExportUnreadable, NoteInvalid (for a malformed public key), OSError."""
    key = Verifier.parse(public_key.strip())
    with file.open("rb") as stream:
        lines = _ExportedLog(_records(stream))
        head = lines.head(since)

        def stretches(signed: Sequence[int]) -> Iterator[StretchReport]:
            for start in range(0, head.size, STRETCH):
                stop = min(start + STRETCH, head.size)
                yield check_stretch(lines, start, stop, signed=signed, pruned_below=head.pruned_below)
                progress(stop, head.size)
            lines.require_end()

        return LogVerifier(head, key).verify(stretches)


def _records(stream: Any) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or len(line) > MAX_LINE_BYTES:
            raise ExportUnreadable(f"line {number} is not a record of a log export")
        yield record


class _ExportedLog:
    """The records of an export, read once from beginning to end: a `LogSource`."""

    seconds = None  # exports have no column with the time

    def __init__(self, records: Iterator[dict[str, Any]]) -> None:
        self._records = records
        self._ahead: dict[str, Any] | None = None

    def head(self, since: str | None) -> LogHead:
        """Read the records before the first entry; add `since`, a checkpoint kept elsewhere, to the notes."""
        log = next(self._records, {})
        if log.get("kind") != "log" or log.get("format") != FORMAT:
            raise ExportUnreadable("the file is not a log export in a format that this program supports")
        notes = []
        for record in self._records:
            if record.get("kind") != "checkpoint":
                self._ahead = record
                break
            size = record.get("size")
            notes.append(HeldNote(str(record.get("note")), size if isinstance(size, int) else None))
        if since is not None:
            notes.append(HeldNote(since, requested=True))
        size, pruned = log.get("size"), log.get("pruned_below")
        if not isinstance(size, int) or not isinstance(pruned, int):
            raise ExportUnreadable("the first line does not contain the size of the log")
        return LogHead(size=size, origin=str(log.get("origin")), notes=notes, pruned_below=pruned)

    @contextmanager
    def page(self, start: int, stop: int) -> Iterator[tuple[list[Row], None]]:
        """Yield the entries from `start` up to but not including `stop`; fewer if another record comes first."""
        rows: list[Row] = []
        while len(rows) < stop - start:
            record = self._next()
            if record.get("kind") != "entry":
                self._ahead = record
                break
            rows.append(_row(record))
        yield rows, None

    def require_end(self) -> None:
        """Raise ExportUnreadable unless the next record is the end record and nothing follows it."""
        if self._next().get("kind") != "end" or next(self._records, None) is not None:
            raise ExportUnreadable("the export has more records than its first line states")

    def _next(self) -> dict[str, Any]:
        record, self._ahead = self._ahead, None
        if record is None:
            record = next(self._records, None)
        if record is None:
            raise ExportUnreadable("the export is truncated: it was not written or sent completely")
        return record


def _row(record: dict[str, Any]) -> Row:
    sequence, content, stored = record.get("sequence"), record.get("content"), record.get("hash")
    if not isinstance(sequence, int):
        raise ExportUnreadable("an entry of the export has no sequence number")
    if isinstance(content, str):
        return sequence, content, leaf_hash(content.encode()), 0
    try:
        leaf = b64decode(str(stored), validate=True)
    except ValueError:
        leaf = b""
    if len(leaf) != HASH_BYTES:
        raise ExportUnreadable(f"entry {sequence} of the export has neither content nor hash")
    return sequence, None, leaf, 0
