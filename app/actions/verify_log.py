"""Check the whole log: every entry, every stored node of its tree, every checkpoint; name the first that fails.

The stretches of a long log are shared out to as many processes as there are processors. Entries that
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
from app.db.audit_pages import AuditPages, check_elsewhere, open_elsewhere
from app.domain.log_verdict import Kind, LogVerdict
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

MOST_PROCESSES = 7
SHARED_FROM = 8
"""Stretches from which on other processes are worth their start."""

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
    text = public_key if public_key is not None else signing.verifier_key()
    key = None if text is None else Verifier.parse(text.strip())
    while True:
        head = _head(resources, signing, since)
        verdict = _verified(resources, head, key, progress)
        if verdict.kind is not Kind.REMOVED or _pruned_below(resources) == head.pruned_below:
            return verdict
        # else: the daily pruning came in between, and took content that should still have been there


def _verified(resources: Resources, head: LogHead, key: Verifier | None, progress: Progress) -> LogVerdict:
    if key is None and head.notes:
        problem = "there are checkpoints, but the signing folder has no public key or checkpoint"
        return LogVerdict(head.size, len(head.notes), problem, kind=Kind.REMOVED, origin=head.origin)

    def stretches(signed: Sequence[int]) -> Iterator[StretchReport]:
        yield from _stretches(resources, head, signed, progress)

    return LogVerifier(head, key, AuditPages(resources.database).nodes).verify(stretches)


def _head(resources: Resources, signing: SigningFolder, since: str | None) -> LogHead:
    kept = signing.last_checkpoint()  # first: one that is signed meanwhile may be of a longer log than is read below
    with resources.database.reading() as connection:
        stored = [HeldNote(each.note, each.size) for each in audit_rows.checkpoints(connection)]
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
            stray=audit_rows.stray_entry(connection),
        )


def _pruned_below(resources: Resources) -> int:
    with resources.database.reading() as connection:
        return audit_rows.pruned_below(connection)


def _stretches(
    resources: Resources, head: LogHead, signed: Sequence[int], progress: Progress
) -> Iterator[StretchReport]:
    """Check all stretches, in order: as many as the stored entries fill, and one more where an entry is missing. A
    number that somebody wrote far beyond the others must not make this look through all those between.
    """
    pages = AuditPages(resources.database)
    with resources.database.reading() as connection:
        entries = audit_rows.count(connection)
    starts = range(0, min(head.size, entries + 1), STRETCH)

    def check(start: int) -> StretchReport:
        stop = min(start + STRETCH, head.size)
        return check_stretch(pages, start, stop, signed=_within(signed, start, stop), pruned_below=head.pruned_below)

    if len(starts) < SHARED_FROM or not _other_processes():
        reports: Iterator[StretchReport] = map(check, starts)
    else:
        reports = _shared_out(resources.settings.database_location, head, signed, check, starts)
    for report in reports:
        yield report
        progress(report.stop, head.size)


def _other_processes() -> int:
    return min((os.cpu_count() or 1) - 1, MOST_PROCESSES)


def _within(signed: Sequence[int], start: int, stop: int) -> list[int]:
    return [size for size in signed if start < size <= stop]


def _shared_out(
    location: str, head: LogHead, signed: Sequence[int], check: Callable[[int], StretchReport], starts: range
) -> Iterator[StretchReport]:
    """Check stretches in other processes and in this one, which takes over whatever no other has begun while it would
    have to wait for the next in order.
    """
    # A process that is forked would share this one's connections.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_other_processes(), context, initializer=open_elsewhere, initargs=(location,)) as pool:
        stretches = [(start, min(start + STRETCH, head.size)) for start in starts]
        futures = {
            start: pool.submit(check_elsewhere, start, stop, _within(signed, start, stop), head.pruned_below)
            for start, stop in stretches
        }
        own: dict[int, StretchReport] = {}
        try:
            for start, future in futures.items():
                while not future.done():
                    spare = next(
                        (each for each, other in futures.items() if not other.cancelled() and other.cancel()), None
                    )
                    if spare is None:
                        break
                    own[spare] = check(spare)
                yield own.pop(start) if start in own else future.result()
        finally:
            pool.shutdown(cancel_futures=True)
