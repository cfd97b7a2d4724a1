"""Verify the whole log: every entry, every stored node of its tree, every checkpoint. Report the first that fails.

The log is read in order, one stretch at a time, in constant memory. Only entries that existed at the start are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from app.crypto.log_check import STRETCH, StretchReport, check_stretch
from app.crypto.log_verifier import HeldNote, LogHead, LogVerifier
from app.crypto.signed_note import Verifier
from app.db import audit_pruning, audit_size, audit_tree, checkpoint_rows, service_rows
from app.db.audit_pages import AuditPages
from app.domain.log_verdict import Kind, LogVerdict
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

Progress = Callable[[int, int], None]


def verify_log(
    resources: Resources,
    signing: SigningFolder,
    *,
    since: str | None = None,
    public_key: str | None = None,
    progress: Progress = lambda _done, _all: None,
) -> LogVerdict:
    """Return the verdict. `since` is a checkpoint kept elsewhere, which the log must extend. `public_key` is the key
    kept elsewhere; without it, the signing folder's key is trusted. `progress` is called with the numbers of checked
    and of all entries. Raises NoteInvalid for a malformed public key.
    """
    text = public_key if public_key is not None else signing.verifier_key()
    key = None if text is None else Verifier.parse(text.strip())
    while True:
        head = _head(resources, signing, since)
        verdict = _verified(resources, head, key, progress)
        if verdict.kind is not Kind.REMOVED or _pruned_below(resources) == head.pruned_below:
            return verdict
        # Otherwise the daily pruning ran meanwhile and removed content that the check still expected.


def _verified(resources: Resources, head: LogHead, key: Verifier | None, progress: Progress) -> LogVerdict:
    if key is None and head.notes:
        problem = "there are checkpoints, but the signing folder has no public key or checkpoint"
        return LogVerdict(head.size, len(head.notes), problem, kind=Kind.REMOVED, origin=head.origin)

    def stretches(signed: Sequence[int]) -> Iterator[StretchReport]:
        yield from _stretches(resources, head, signed, progress)

    return LogVerifier(head, key, AuditPages(resources.database).nodes).verify(stretches)


def _head(resources: Resources, signing: SigningFolder, since: str | None) -> LogHead:
    kept = signing.last_checkpoint()  # read first: one signed meanwhile may cover more entries than are read below
    with resources.database.reading() as connection:
        stored = [HeldNote(each.note, each.size) for each in checkpoint_rows.every(connection)]
        return LogHead(
            size=audit_size.size(connection),
            origin=service_rows.get(connection).log_origin,
            notes=[
                *stored,
                *([HeldNote(kept)] if kept is not None else []),
                *([HeldNote(since, requested=True)] if since is not None else []),
            ],
            pruned_below=audit_pruning.pruned_below(connection),
            stored_size=audit_tree.stored_size(connection),
            stray=audit_size.stray_entry(connection),
        )


def _pruned_below(resources: Resources) -> int:
    with resources.database.reading() as connection:
        return audit_pruning.pruned_below(connection)


def _stretches(
    resources: Resources, head: LogHead, signed: Sequence[int], progress: Progress
) -> Iterator[StretchReport]:
    """Check the stretches in order: as many as the stored entries fill, and one more if an entry is missing. This
    bounds the work if an entry has a forged, huge sequence number.
    """
    pages = AuditPages(resources.database)
    with resources.database.reading() as connection:
        entries = audit_size.count(connection)
    for start in range(0, min(head.size, entries + 1), STRETCH):
        stop = min(start + STRETCH, head.size)
        within = [size for size in signed if start < size <= stop]
        yield check_stretch(pages, start, stop, signed=within, pruned_below=head.pruned_below)
        progress(stop, head.size)
