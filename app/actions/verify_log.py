"""Check the whole log: every entry, every stored node of its tree, every checkpoint; name the first that fails.

Stretches are shared out to as many processes as there are processors; a short log is read in this one. Entries that
arrive meanwhile are not looked at: the check goes up to the size the log had at the start.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from app.crypto.log_check import STRETCH, StretchReport, check_stretch
from app.crypto.log_verifier import HeldNote, LogHead, LogVerifier
from app.crypto.signed_note import Verifier
from app.db import audit_rows, service_rows
from app.db.audit_pages import AuditPages
from app.db.engine import Database
from app.domain.log_verdict import Kind, LogVerdict
from app.harden import harden_process
from app.resources import Resources
from app.storage.signing_folder import SigningFolder

MOST_PROCESSES = 8
Progress = Callable[[int, int], None]


def verify_log(
    resources: Resources,
    signing: SigningFolder,
    *,
    since: str | None = None,
    public_key: str | None = None,
    progress: Progress = lambda _done, _all: None,
) -> LogVerdict:
    """Verify. `since` is a checkpoint that was kept elsewhere, `public_key` the key as somebody else kept it (else the
    signing folder's own is believed). `progress` is told how many entries of how many are done. Raises NoteInvalid
    for a public key that is none.
    """
    head = _head(resources, signing, since)
    text = public_key if public_key is not None else signing.verifier_key()
    if text is None and head.notes:
        problem = "there are checkpoints, but the signing folder has no public key or checkpoint"
        return LogVerdict(head.size, len(head.notes), problem, kind=Kind.REMOVED, origin=head.origin)
    key = None if text is None else Verifier.parse(text)

    def stretches(signed: Sequence[int]) -> Iterator[StretchReport]:
        yield from _stretches(resources, head, signed, progress)

    return LogVerifier(head, key, AuditPages(resources.database).nodes).verify(stretches)


def _head(resources: Resources, signing: SigningFolder, since: str | None) -> LogHead:
    with resources.database.reading() as connection:
        stored = [HeldNote(each.note, each.size) for each in audit_rows.checkpoints(connection)]
        kept = signing.last_checkpoint()
        return LogHead(
            size=audit_rows.size(connection),
            origin=service_rows.get(connection).log_origin,
            notes=[
                *stored,
                *([HeldNote(kept)] if kept is not None else []),
                *([HeldNote(since, asked=True)] if since is not None else []),
            ],
            pruned_below=audit_rows.pruned_below(connection),
            stored_size=audit_rows.stored_size(connection),
            entry_before_first=audit_rows.entry_before_first(connection),
        )


def _stretches(
    resources: Resources, head: LogHead, signed: Sequence[int], progress: Progress
) -> Iterator[StretchReport]:
    """Check all stretches, in order."""
    starts = range(0, head.size, STRETCH)
    if len(starts) <= 2:
        pages = AuditPages(resources.database)
        for start in starts:
            yield _checked(pages, head, signed, start)
            progress(min(start + STRETCH, head.size), head.size)
        return
    workers = min(os.cpu_count() or 1, len(starts), MOST_PROCESSES)
    # A process that is forked would share this one's connections.
    context = multiprocessing.get_context("spawn")
    location = resources.settings.database_location
    with ProcessPoolExecutor(workers, context, initializer=_open, initargs=(location, head, signed)) as pool:
        try:
            for start, report in zip(starts, pool.map(_checked_elsewhere, starts), strict=True):
                yield report
                progress(min(start + STRETCH, head.size), head.size)
        finally:
            pool.shutdown(cancel_futures=True)


def _checked(pages: AuditPages, head: LogHead, signed: Sequence[int], start: int) -> StretchReport:
    stop = min(start + STRETCH, head.size)
    return check_stretch(pages, start, stop, signed=signed, pruned_below=head.pruned_below)


_opened: list[Callable[[int], StretchReport]] = []
"""What a process of the pool works with."""


def _open(location: str, head: LogHead, signed: Sequence[int]) -> None:
    harden_process()
    pages = AuditPages(Database(location))
    _opened.append(lambda start: _checked(pages, head, signed, start))


def _checked_elsewhere(start: int) -> StretchReport:
    return _opened[0](start)
