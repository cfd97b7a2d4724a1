"""Export the log as JSON lines, for verification without the service. `app/domain/log_export.py` has the format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.db import audit_pruning, audit_rows, audit_size, checkpoint_rows, service_rows
from app.db.audit_pages import AuditPages
from app.domain.log_export import checkpoint_record, end_record, entry_record, log_record
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

PAGE = 2_000


class LogPrunedMeanwhile(Exception):
    """Entries above the pruning boundary in the first line were pruned during the export."""


def export_log(
    resources: Resources, signing: SigningFolder, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Iterator[str]:
    """Yield the lines of the export, without line ends. The log is read in pages, in short transactions. Raises
    LogPrunedMeanwhile instead of yielding the last line, so that the incomplete output cannot pass for an export.
    """
    kept = signing.last_checkpoint()  # read first: one signed meanwhile may cover more entries than are read below
    with resources.database.reading() as connection:
        size, newest = audit_size.size(connection), checkpoint_rows.last(connection)
        origin, pruned = service_rows.get(connection).log_origin, audit_pruning.pruned_below(connection)
    yield log_record(origin=origin, public_key=signing.verifier_key(), size=size, pruned_below=pruned)
    notes = AuditPages(resources.database).checkpoints(newest.size) if newest is not None else ()
    yield from (checkpoint_record(note.note, note.size) for note in notes)
    if kept is not None:
        yield checkpoint_record(kept, None)
    for start in range(0, size, PAGE):
        stop = min(start + PAGE, size)
        with resources.database.reading() as connection, audit_rows.raw_page(connection, start, stop) as rows:
            records = [entry_record(sequence, content, leaf) for sequence, content, leaf, _at in rows]
        yield from records
        progress(stop, size)
    with resources.database.reading() as connection:
        if audit_pruning.pruned_below(connection) != pruned:
            raise LogPrunedMeanwhile("the log was pruned during the export: discard this file and export the log again")
    yield end_record(size)
