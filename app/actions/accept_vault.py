"""An operator takes a vault into use that is not the one it was: a new, empty one, or an older copy.

The old vault was lost (its disk died): whatever was held can never be read again. The transfers end first, the new
vault is adopted after that: whoever dies in between begins again, and no request ever finds a vault in which the keys
of a living transfer are missing. An older copy lacks what came after it: the keys of later transfers, which end, and
the records of later claims, without which a share could be redeemed twice: such shares are withdrawn. What it holds of
transfers that have ended, reconciliation destroys.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from app.db import service_rows, share_rows, testimony_rows, transfer_rows
from app.db.engine import Transaction
from app.db.schema import require_current
from app.db.share_rows import ShareRow
from app.db.transfer_rows import TransferRow
from app.domain.audit_events import Entry, Event
from app.domain.share import OPEN_STATES, ShareState
from app.domain.transfer import Ending
from app.domain.vault_entry import EntryName
from app.lifecycle import endings, rollback
from app.runtime.installation import InstallationMismatch
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder

PAGE = 500


class VaultInUse(Exception):
    """This vault is no new one: it is in use, or another installation's, or holds something."""


def in_use(resources: Resources) -> bool:
    """Whether the vault carries this installation's id. Raises SchemaOutdated, VaultUnavailable."""
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    return state is not None and resources.vault.installation() == state.installation_id


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
    signing = SigningFolder(resources.settings.signing_dir)
    resources.clock.observe(rollback.time_by_signer(signing, resources.clock.boot_id))  # the new vault remembers none
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
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
    _remember(resources)
    return ended


def accept_older_vault(resources: Resources) -> int:
    """End every open transfer whose key is gone, withdraw every open share that its row or the log calls claimed
    and whose claim the vault does not know, and go on with this vault. Returns how many transfers and shares ended.

    Raises StorageError, DatabaseUnavailable.
    """
    ended, after = 0, ""
    while True:
        now = resources.clock.now()
        with resources.database.writing() as transaction:
            page = transfer_rows.open_page(transaction.connection, after, now, PAGE)
            ends = _end_unkept(transaction, resources, page, now)
        resources.destroy_keys(name for keys in ends for name in keys)
        if not page:
            break
        ended, after = ended + len(ends), page[-1].id
    with resources.database.writing() as transaction:
        service_rows.forget_vault_problem(transaction.connection)
        transaction.log(Entry(event=Event.VAULT_ACCEPTED, at=now, actor="operator", count=ended))
    _remember(resources)
    return ended


def _end_unkept(
    transaction: Transaction, resources: Resources, page: list[TransferRow], now: datetime
) -> list[list[EntryName]]:
    """Returns the keys of each transfer and share that was ended."""
    claimed = _claimed(transaction.connection, page)
    records = {share.id: EntryName(share.transfer_id, share.expires_at, share.id).of_claim for share in claimed}
    names = {row.id: EntryName(row.id, row.expires_at) for row in page}
    living = resources.vault.living([*names.values(), *records.values()])
    ends = [
        endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="operator")
        for row in page
        if names[row.id] not in living
    ]
    ends += [
        endings.end_share(transaction, share, ShareState.WITHDRAWN, now=now, actor="operator")
        for share in claimed
        if records[share.id] not in living
    ]
    return [keys for keys in ends if keys]


def _claimed(connection: Connection, page: list[TransferRow]) -> list[ShareRow]:
    """The open shares that somebody has claimed: a row that was set back hides what the log still says."""
    ids = [row.id for row in page]
    told = testimony_rows.told_of(connection, ids, [Event.SHARE_CLAIMED])
    logged = {share_id for testimony in told.values() for share_id in testimony.shares}
    shares = [share for share in share_rows.of_transfers(connection, ids) if share.state in OPEN_STATES]
    return [share for share in shares if share.state == ShareState.CLAIMED or share.id in logged]


def _remember(resources: Resources) -> None:
    """The new mark, in the vault and in the signer's folder."""
    rollback.write(resources, resources.clock.now())
    signing = SigningFolder(resources.settings.signing_dir)
    rollback.remember_vault(resources.vault, signing, at_once=True)


def _end_some(transaction: Transaction, resources: Resources) -> int:
    """The sweeper then deletes their bytes. None of their keys is there to destroy."""
    now = resources.clock.now()
    rows = transfer_rows.any_open(transaction.connection, PAGE)
    for row in rows:
        endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="operator")
    return len(rows)
