"""Go on with the log under a new origin, when what was signed under the old one cannot be gone on with.

Nothing is reset: the entries stay, the new origin's first one quotes the last checkpoint of the old origin and says
why, and verification goes on naming whatever is wrong with what came before.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.db import audit_rows, service_rows
from app.domain.audit_events import Entry, Event, RenewalReason
from app.lifecycle import rollback
from app.runtime.installation import new_log_origin
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder


@dataclass(frozen=True, slots=True)
class RenewedLog:
    """The two origins, the checkpoint that is quoted, and the number of the entry that quotes it."""

    old_origin: str
    new_origin: str
    quoted: str | None
    sequence: int


def renew_log(resources: Resources, signing: SigningFolder, reason: RenewalReason) -> RenewedLog:
    """Begin a new origin; with a new key, unless the reason is that the log was damaged. Raises DatabaseRolledBack: a
    log that the vault does not know for its own is gone on with by `accept_restore` alone, which withdraws open shares.

    The key goes first: a crash in between leaves a log that is not signed until this is run again.
    """
    rollback.require_not_rolled_back(resources)
    quoted = signing.last_checkpoint()
    if reason is not RenewalReason.LOG_DAMAGED:
        signing.give_up_key()
    now, origin = resources.clock.now(), new_log_origin()
    with resources.database.writing() as transaction:
        old = service_rows.get(transaction.connection).log_origin
        sequence = audit_rows.size(transaction.connection)
        service_rows.set_log_origin(transaction.connection, origin)
        transaction.log(Entry(event=Event.LOG_RENEWED, at=now, actor="operator", outcome=reason.value, quoted=quoted))
    rollback.write(resources, now)
    return RenewedLog(old, origin, quoted, sequence)
