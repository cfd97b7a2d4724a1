"""Export the log as lines of JSON, for whoever checks it without the service. The format: `app.domain.log_export`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.db import audit_rows, service_rows
from app.db.audit_pages import AuditPages
from app.domain.log_export import checkpoint_record, end_record, entry_record, log_record
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

PAGE = 2_000


class LogPrunedMeanwhile(Exception):
    """Entries lost their content while they were exported, beyond the boundary that the first line names."""


def export_log(
    resources: Resources, signing: SigningFolder, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Iterator[str]:
    """The lines, without their ends, of the log as it is now; pages are read in short transactions. Raises
    LogPrunedMeanwhile in place of the last line, so that what was written passes for no export.
    """
    kept = signing.last_checkpoint()  # first: one that is signed meanwhile may be of a longer log than is read below
    with resources.database.reading() as connection:
        size, newest = audit_rows.size(connection), audit_rows.last_checkpoint(connection)
        origin, pruned = service_rows.get(connection).log_origin, audit_rows.pruned_below(connection)
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
        if audit_rows.pruned_below(connection) != pruned:
            raise LogPrunedMeanwhile("the log was pruned while it was exported: throw this away and export it again")
    yield end_record(size)
