"""Accept the host's clock on an operator's confirmation, after a long pause or a manual correction."""

from __future__ import annotations

from app.db import service_rows
from app.domain.audit_events import Entry, Event
from app.domain.clock import Judgement
from app.lifecycle import rollback
from app.runtime.resources import Resources
from app.storage.vault_marks import write_boot_time


def accept_clock(resources: Resources) -> Judgement:
    """Accept the host's clock as it is, even if it is behind: every later mark in the vault and database is lowered.
    Raises DatabaseRolledBack, VaultUnavailable.

    The vault is written first: every process adopts its anchor within a second, and the purge may be the only process.
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
