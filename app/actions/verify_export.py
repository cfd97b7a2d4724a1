"""Check an exported log, offline: no data folder, no server, and no key but the one that the caller brings.

The same check as that of the log itself, but for what an export does not have: stored nodes, and times beside the
content.
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
    """Verify. Raises ExportUnreadable, NoteInvalid (a public key that is none), OSError."""
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
            raise ExportUnreadable(f"line {number} is no record of an exported log")
        yield record


class _ExportedLog:
    """The records of an export, read once from beginning to end: a `LogSource`."""

    seconds = None  # no time stands beside the content

    def __init__(self, records: Iterator[dict[str, Any]]) -> None:
        self._records = records
        self._ahead: dict[str, Any] | None = None

    def head(self, since: str | None) -> LogHead:
        """What stands before the entries."""
        log = next(self._records, {})
        if log.get("kind") != "log" or log.get("format") != FORMAT:
            raise ExportUnreadable("the file is no export of a log in a format that this program knows")
        notes = []
        for record in self._records:
            if record.get("kind") != "checkpoint":
                self._ahead = record
                break
            size = record.get("size")
            notes.append(HeldNote(str(record.get("note")), size if isinstance(size, int) else None))
        if since is not None:
            notes.append(HeldNote(since, asked=True))
        size, pruned = log.get("size"), log.get("pruned_below")
        if not isinstance(size, int) or not isinstance(pruned, int):
            raise ExportUnreadable("the first line does not say how long the log is")
        return LogHead(size=size, origin=str(log.get("origin")), notes=notes, pruned_below=pruned)

    @contextmanager
    def page(self, start: int, stop: int) -> Iterator[tuple[list[Row], None]]:
        """The entries from `start` up to `stop`, as far as they follow each other."""
        rows: list[Row] = []
        while len(rows) < stop - start:
            record = self._next()
            if record.get("kind") != "entry":
                self._ahead = record
                break
            rows.append(_row(record))
        yield rows, None

    def require_end(self) -> None:
        """Raise ExportUnreadable unless the last record comes next and nothing after it."""
        if self._next().get("kind") != "end" or next(self._records, None) is not None:
            raise ExportUnreadable("the export holds more than it says")

    def _next(self) -> dict[str, Any]:
        record, self._ahead = self._ahead, None
        if record is None:
            record = next(self._records, None)
        if record is None:
            raise ExportUnreadable("the export ends before its end: it was not written or sent whole")
        return record


def _row(record: dict[str, Any]) -> Row:
    sequence, content, stored = record.get("sequence"), record.get("content"), record.get("hash")
    if not isinstance(sequence, int):
        raise ExportUnreadable("an entry of the export has no number")
    if isinstance(content, str):
        return sequence, content, leaf_hash(content.encode()), 0
    try:
        leaf = b64decode(str(stored), validate=True)
    except ValueError:
        leaf = b""
    if len(leaf) != HASH_BYTES:
        raise ExportUnreadable(f"entry {sequence} of the export has neither content nor hash")
    return sequence, None, leaf, 0
