"""The vault was lost (its disk died): take a new, empty one into use. Whatever was held can never be read again.

The transfers end first, the new vault is adopted after that: whoever dies in between begins again, and no request ever
finds a vault in which the keys of a living transfer are missing.
"""

from __future__ import annotations

from app import high_water
from app.db import endings, service_rows, transfer_rows
from app.db.engine import Transaction
from app.db.schema import require_current
from app.domain.audit_events import Entry, Event
from app.domain.transfer import Ending
from app.resources import InstallationMismatch, Resources

PAGE = 500


class VaultInUse(Exception):
    """This vault is no new one: it is in use, or another installation's, or holds something."""


def require_new_vault(resources: Resources) -> None:
    """Raise VaultInUse unless the vault's folder is empty or not there; InstallationMismatch unless database and blobs
    belong together; VaultUnavailable when that cannot be told.
    """
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    if state is None or resources.blobs.installation() != state.installation_id:
        raise InstallationMismatch("database and blobs do not belong together: is this the right database?")
    found = resources.vault.installation()
    if found == state.installation_id:
        raise VaultInUse("this vault is in use; nothing is lost")
    if found is not None or not resources.vault.is_empty():
        raise VaultInUse("this vault is not empty: it is another installation's, or no new one")


def accept_vault(resources: Resources) -> int:
    """End every transfer that is open, then take the new vault into use; deposits open with the next sweep. Answers how
    many ended. Raises as `require_new_vault`.
    """
    require_new_vault(resources)
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
    resources.clock.observe(mark=state.time_mark, anchor=state.anchor)
    ended = 0
    while True:
        with resources.database.writing() as transaction:
            page = _end_some(transaction, resources)
            if not page:
                break
            ended += page
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        transaction.log(Entry(event=Event.VAULT_REPLACED, at=now, actor="operator", count=ended))
    resources.vault.adopt(state.installation_id)
    high_water.write(resources, now)
    return ended


def _end_some(transaction: Transaction, resources: Resources) -> int:
    """The sweeper then deletes their bytes. None of their keys is there to destroy."""
    now = resources.clock.now()
    rows = transfer_rows.any_open(transaction.connection, PAGE)
    for row in rows:
        endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="operator")
    return len(rows)
