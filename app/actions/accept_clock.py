"""The operator says that the host's clock is right: after a long pause, or a correction by hand."""

from __future__ import annotations

from app.db import service_rows
from app.domain.audit_events import Entry, Event
from app.domain.clock import Judgement
from app.lifecycle import rollback
from app.runtime.resources import Resources
from app.storage.vault_marks import write_boot_time


def accept_clock(resources: Resources) -> Judgement:
    """Believe the host's clock as it is, also where it is behind: every mark of a later time is lowered, in the vault
    and in the database. Raises DatabaseRolledBack, VaultUnavailable.

    The vault is told first: every process follows its anchor within a second, and its purge may be all that runs.
    """
    resources.vault_time.refresh()
    rollback.require_not_rolled_back(resources)
    boot = resources.clock.accepted()
    write_boot_time(resources.vault, boot)
    resources.clock.keep(boot)
    judgement = resources.clock.judge()
    rollback.forget_purge_time(resources.vault, judgement.now)
    with resources.database.writing() as transaction:
        service_rows.set_mark(transaction.connection, judgement.now)
        service_rows.keep_anchor(transaction.connection, boot.anchor)
        service_rows.forget_clock_problem(transaction.connection)
        transaction.log(Entry(event=Event.CLOCK_ACCEPTED, at=judgement.now, actor="operator"))
    rollback.write(resources, judgement.now)
    return judgement
