"""Accept a replacement vault on an operator's confirmation: a new, empty one, or an older copy.

With a new vault (the old disk died), no stored file can ever be read again. First the transfers end, then the new vault
is adopted: after a crash in between the command can be repeated, and no request ever finds a vault that lacks the keys
of a live transfer. An older copy lacks the keys of later transfers, which end, and the records of later claims; those
shares are withdrawn, since they could be redeemed twice. Reconciliation destroys the copy's keys of ended transfers.
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
    """The vault is not new: it is in use, belongs to another installation, or is not empty."""


def in_use(resources: Resources) -> bool:
    """Return whether the vault has this installation's id. Raises SchemaOutdated, VaultUnavailable."""
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    return state is not None and resources.vault.installation() == state.installation_id


def require_new_vault(resources: Resources) -> None:
    """Raise VaultInUse unless the vault's folder is empty or missing; InstallationMismatch unless database and blobs
    belong together; VaultUnavailable if that cannot be determined.
    """
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    if state is None or resources.blobs.installation() != state.installation_id:
        raise InstallationMismatch("database and blobs do not belong together: is this the right database?")
    found = resources.vault.installation()
    if found == state.installation_id:
        raise VaultInUse("this vault is in use; nothing is lost")
    content = resources.vault.content()
    if found is not None:
        raise VaultInUse("this vault belongs to another installation")
    if content is not None:
        raise VaultInUse(f"this vault is not new: {content} lies in it. Stop the scheduler, and look what that is")


def accept_vault(resources: Resources) -> int:
    """End every open transfer, then adopt the new vault; deposits open with the next sweep. Return how many transfers
    ended. Raises the errors of `require_new_vault`.
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
    """End every open transfer whose key is gone, withdraw every open share that is claimed according to its row or the
    log but has no claim record in the vault, and accept this vault. Return how many transfers and shares ended.

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
    """Return the keys of each transfer and share that was ended."""
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
    """Return the open shares that are claimed according to their row or the log; a row may have been rolled back."""
    ids = [row.id for row in page]
    testimonies = testimony_rows.of_transfers(connection, ids, [Event.SHARE_CLAIMED])
    logged = {share_id for testimony in testimonies.values() for share_id in testimony.shares}
    shares = [share for share in share_rows.of_transfers(connection, ids) if share.state in OPEN_STATES]
    return [share for share in shares if share.state == ShareState.CLAIMED or share.id in logged]


def _remember(resources: Resources) -> None:
    """Write the new mark to the vault and to the signer's folder."""
    rollback.write(resources, resources.clock.now())
    signing = SigningFolder(resources.settings.signing_dir)
    rollback.remember_vault(resources.vault, signing, at_once=True)


def _end_some(transaction: Transaction, resources: Resources) -> int:
    """End one page of open transfers. The sweeper deletes their bytes later; their keys are already lost."""
    now = resources.clock.now()
    rows = transfer_rows.any_open(transaction.connection, PAGE)
    for row in rows:
        endings.deny_transfer(transaction, row, Ending.FAILED, now=now, actor="operator")
    return len(rows)
