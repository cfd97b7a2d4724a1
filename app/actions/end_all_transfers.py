"""After every key in the vault was destroyed: end every transfer, so that the sweeper deletes their bytes."""

from __future__ import annotations

from app.db import endings, transfer_rows
from app.domain.audit_events import Entry, Event
from app.domain.transfer import Ending
from app.resources import Resources, require_same_installation

PAGE = 500


def end_all_transfers(resources: Resources, *, destroyed: int) -> None:
    """Log that so many keys were destroyed, and end every transfer. Raises DatabaseUnavailable, or InstallationMismatch
    rather than end the transfers of another installation.
    """
    require_same_installation(resources)
    with resources.database.writing() as transaction:
        now = resources.clock.now()
        transaction.log(Entry(event=Event.ALL_KEYS_DESTROYED, at=now, actor="operator", count=destroyed))
    after = ""
    while True:
        with resources.database.writing() as transaction:
            page = transfer_rows.open_page(transaction.connection, after, now, PAGE)
            for row in page:
                endings.deny_transfer(transaction, row, Ending.DELETED, now=now, actor="operator")
        if not page:
            return
        after = page[-1].id
