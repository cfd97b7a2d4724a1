"""Continue the log under a new origin, when it cannot be continued under the old one.

Nothing is reset. The entries stay, the first entry of the new origin quotes the last checkpoint of the old origin and
records the reason, and verification still reports anything wrong with earlier entries.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.db import audit_size, checkpoint_rows, service_rows
from app.domain.audit_events import Entry, Event, RenewalReason
from app.lifecycle import rollback
from app.lifecycle.forged_entries import begin_record
from app.lifecycle.signer import require_signer
from app.runtime.installation import new_log_origin
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder


@dataclass(frozen=True, slots=True)
class RenewedLog:
    """Both origins, the quoted checkpoint (None if nothing was signed), and the quoting entry's sequence number."""

    old_origin: str
    new_origin: str
    quoted: str | None
    sequence: int


def renew_log(resources: Resources, signing: SigningFolder, reason: RenewalReason) -> RenewedLog:
    """Begin a new origin, with a new key unless `reason` is that the log was damaged. Raises DatabaseRolledBack: a log
    that differs from the vault's mark may be continued only by `accept_restore`, which withdraws open shares.

    The key is discarded first. After a crash in between, the log stays unsigned until this is run again.
    """
    require_signer(resources)
    rollback.require_not_rolled_back(resources)
    with signing.locked():
        quoted = signing.last_checkpoint() or _last_stored(resources)
        if reason is not RenewalReason.LOG_DAMAGED:
            signing.give_up_key()
        now, origin = resources.clock.now(), new_log_origin()
        with resources.database.writing() as transaction:
            old = service_rows.get(transaction.connection).log_origin
            sequence = audit_size.size(transaction.connection)
            service_rows.set_log_origin(transaction.connection, origin)
            renewed = Entry(event=Event.LOG_RENEWED, at=now, actor="operator", outcome=reason.value, quoted=quoted)
            transaction.log(renewed)
        begin_record(resources, anew=True)
    rollback.write(resources, now)
    return RenewedLog(old, origin, quoted, sequence)


def _last_stored(resources: Resources) -> str | None:
    """Return the last checkpoint as the database has it, where the signer's folder was lost with the key."""
    with resources.database.reading() as connection:
        stored = checkpoint_rows.last(connection)
    return stored.note if stored else None
