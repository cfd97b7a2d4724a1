"""Sign a checkpoint of the current log. Only the scheduler signs; processes that face the network have no signing key.

The last checkpoint is also kept next to the key, outside the database. If the log does not contain that checkpoint, it
was restored or altered: nothing is signed, and LogRolledBack is raised. If the kept checkpoint has another origin than
the log, an entry of the log must record that this origin was abandoned; otherwise a change of the origin in the
database would bypass the check.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import Connection

from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_queries, audit_size, audit_tree, checkpoint_rows, service_rows
from app.db.checkpoint_rows import StoredCheckpoint
from app.lifecycle.forged_entries import LogForged, proved_root
from app.lifecycle.signer import require_signer
from app.runtime.resources import Resources
from app.storage.errors import SigningUnavailable
from app.storage.own_entries import OwnEntries
from app.storage.signing_folder import SigningFolder

log = structlog.get_logger()

IDLE_INTERVAL = timedelta(hours=1)
"""An idle log is signed again at this interval, so that the newest checkpoint also proves that nothing was added."""


class LogRolledBack(Exception):
    """The log does not contain the last signed checkpoint: the database was restored or altered."""


def sign_checkpoint(resources: Resources, signing: SigningFolder) -> StoredCheckpoint | None:
    """Sign the current log and return the checkpoint; None if the same log was signed less than IDLE_INTERVAL ago.

    Raises LogRolledBack; LogForged; SigningUnavailable if the key cannot be used, or if another host signs. The note is
    stored outside the database first: after a crash in between, it is a valid checkpoint of an existing log.
    """
    require_signer(resources)
    with signing.locked():
        try:
            return _sign(resources, signing)
        except LogForged as error:
            log.error("log_forged", detail=str(error), alert=True)
            signing.note_forged(str(error))
            raise


def _sign(resources: Resources, signing: SigningFolder) -> StoredCheckpoint | None:
    now = resources.clock.now()
    with resources.database.reading() as connection:
        origin = service_rows.get(connection).log_origin
        size = audit_size.size(connection)
        last = checkpoint_rows.last(connection)
        if last and last.size == size and now - last.at < IDLE_INTERVAL:
            return None
        kept = signing.last_checkpoint()
        of_this_origin = kept is not None and kept.startswith(f"{origin}\n")
        if kept is not None and not of_this_origin:
            _require_given_up(connection, kept)
        if kept is None and last and last.note.startswith(f"{origin}\n"):  # a new key would pass for the lost one
            raise SigningUnavailable("the log was signed, but the folder of the signing key is empty or missing")
        signer = signing.signer(origin)
        signed: Checkpoint | None = None
        if kept is not None and of_this_origin:
            signed = Checkpoint.parse(Verifier.parse(signer.verifier_key).verify(kept))
            _require_contained(connection, size, signed)
        own = OwnEntries(resources.settings.signing_dir)
        beginning = own.beginning()
        if beginning is None:
            root = audit_tree.root(connection, size)
        else:
            root = proved_root(connection, own, beginning, signed)
    checkpoint = StoredCheckpoint(size, now, signer.sign(Checkpoint(origin, size, root).body()))
    signing.keep(checkpoint.note)
    with resources.database.writing() as transaction:
        checkpoint_rows.add(transaction.connection, checkpoint)
    if beginning is not None:
        own.forget(size)
        signing.note_forged(None)
    return checkpoint


def _require_given_up(connection: Connection, kept: str) -> None:
    """Raise LogRolledBack unless an entry of the log records that this checkpoint's origin was abandoned."""
    origin, _, _ = kept.partition("\n")
    quotations = (entry.fields().get("quoted") for entry in audit_queries.renewals(connection))
    if not any(str(quoted).startswith(f"{origin}\n") for quoted in quotations):
        raise LogRolledBack(f"the log has another origin than its last checkpoint ({origin}), and no entry says why")


def _require_contained(connection: Connection, size: int, earlier: Checkpoint) -> None:
    """Raise LogRolledBack unless the log extends the earlier checkpoint (required by c2sp.org/tlog-checkpoint)."""
    try:
        contained = earlier.size <= size and audit_tree.root(connection, earlier.size) == earlier.root
    except KeyError:  # a stored node is missing
        contained = False
    if not contained:
        raise LogRolledBack(f"the log has {size} entries and does not contain the {earlier.size} that were signed")
