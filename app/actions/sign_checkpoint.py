"""Sign what the log says now. Only the scheduler does: the processes that face the network hold no signing key.

The last checkpoint is kept beside the key too, outside the database. A log that is shorter than it, or that does not
contain it, was restored or altered: nothing is signed then (`LogRolledBack`), loudly. Of another origin than the log's
it must be one that an entry of the log gives up; else changing the origin in the database would silence all that.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_queries, audit_rows, service_rows
from app.db.audit_rows import StoredCheckpoint
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

IDLE_INTERVAL = timedelta(hours=1)
"""An idle log is signed anew this often, so that a checkpoint also says "and nothing since"."""


class LogRolledBack(Exception):
    """The log in the database does not contain what was signed before: a restored database, or an altered one."""


def sign_checkpoint(resources: Resources, signing: SigningFolder) -> StoredCheckpoint | None:
    """Sign the log as it is now; None when it was signed as it is less than an hour ago.

    Raises LogRolledBack; SigningUnavailable when the key cannot be used. The note is kept outside the database first:
    a crash in between leaves a checkpoint of a log that exists.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        origin = service_rows.get(connection).log_origin
        size = audit_rows.size(connection)
        last = audit_rows.last_checkpoint(connection)
        if last and last.size == size and now - last.at < IDLE_INTERVAL:
            return None
        root = audit_rows.root(connection, size)
        kept = signing.last_checkpoint()
        of_this_origin = kept is not None and kept.startswith(f"{origin}\n")
        if kept is not None and not of_this_origin:
            _require_given_up(connection, kept)
        signer = signing.signer(origin)
        if kept is not None and of_this_origin:
            _require_contained(connection, size, Checkpoint.parse(Verifier.parse(signer.verifier_key).verify(kept)))
    checkpoint = StoredCheckpoint(size, now, signer.sign(Checkpoint(origin, size, root).body()))
    signing.keep(checkpoint.note)
    with resources.database.writing() as transaction:
        audit_rows.add_checkpoint(transaction.connection, checkpoint)
    return checkpoint


def _require_given_up(connection: Connection, kept: str) -> None:
    """The log must say that the origin of this checkpoint was given up."""
    origin, _, _ = kept.partition("\n")
    quotations = (entry.fields().get("quoted") for entry in audit_queries.renewals(connection))
    if not any(str(quoted).startswith(f"{origin}\n") for quoted in quotations):
        raise LogRolledBack(f"the log has another origin than what was signed before ({origin}), and no entry says why")


def _require_contained(connection: Connection, size: int, earlier: Checkpoint) -> None:
    """A log must not be signed that is inconsistent with what was signed before (c2sp.org/tlog-checkpoint)."""
    try:
        contained = earlier.size <= size and audit_rows.root(connection, earlier.size) == earlier.root
    except KeyError:  # a stored node is missing
        contained = False
    if not contained:
        raise LogRolledBack(f"the log has {size} entries and does not contain the {earlier.size} signed before")
