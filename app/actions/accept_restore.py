"""Accept a database that an operator restored from a backup on purpose, and make it safe to use.

The database lacks everything after the backup. So every open share is withdrawn (one used since must not be used again;
its key is gone from the vault in any case), and the log continues under a new origin that quotes the last checkpoint of
the old one, which shows its holders how much is missing. A damaged log is continued the same way, since the rest may be
altered too. The database also lacks a lockdown begun and tokens revoked after the backup, so the service starts locked
down until an operator has reviewed the tokens.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from app.crypto.errors import CryptoError
from app.crypto.signed_note import Checkpoint, split_note
from app.db import access_token_rows, audit_size, audit_tree, checkpoint_rows, service_rows, session_rows, share_rows
from app.db.access_token_rows import TokenRow
from app.domain.audit_events import OPERATOR, Cause, Entry, Event
from app.domain.high_water import HighWater
from app.domain.session import SessionEnding
from app.domain.share import ShareState
from app.domain.vault_entry import EntryName
from app.lifecycle import endings, rollback, session_ends
from app.lifecycle.forged_entries import begin_record
from app.lifecycle.signer import require_signer
from app.runtime.installation import new_log_origin
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water


@dataclass(frozen=True, slots=True)
class AcceptedRestore:
    """Number of shares withdrawn, maximum number of log entries lost, and the valid tokens, some of which may have been
    revoked since the backup.
    """

    withdrawn: int
    entries_lost: int
    tokens: list[TokenRow]


def accept_restore(resources: Resources, signing: SigningFolder) -> AcceptedRestore:
    """Accept the database and lock the service down. Shares are withdrawn even if the database was not rolled back; the
    operator must know that.
    """
    require_signer(resources)
    now = resources.clock.now()
    with signing.locked():
        accepted = _accept(resources, signing, now)
        begin_record(resources, anew=True)
    rollback.write(resources, now)
    rollback.remember_vault(resources.vault, signing, at_once=True)
    return accepted


def _accept(resources: Resources, signing: SigningFolder, now: datetime) -> AcceptedRestore:
    remembered = read_high_water(resources.vault)
    quoted = signing.last_checkpoint()
    keys: list[EntryName] = []
    with resources.database.writing() as transaction:
        audit_tree.complete_tree(transaction.connection)
        # What was done to the restored database before this is in its log too, but was never signed.
        signed = checkpoint_rows.last(transaction.connection)
        known = signed.size if signed else audit_size.size(transaction.connection)
        lost = _entries_lost(remembered, quoted, known)
        shares = share_rows.open_ones(transaction.connection)
        for share in shares:
            keys += endings.end_share(transaction, share, ShareState.WITHDRAWN, now=now, actor="operator")
        for session in session_rows.every(transaction.connection, ended=False):  # it may have ended since the backup
            session_ends.end(transaction, session, SessionEnding.REVOKED, now, Cause(OPERATOR))
        service_rows.set_mark(transaction.connection, now)
        service_rows.keep_anchor(transaction.connection, resources.clock.boot_time.anchor)
        service_rows.accept_rolled_back(transaction.connection)
        service_rows.set_log_origin(transaction.connection, new_log_origin())
        restored = Entry(event=Event.DATABASE_RESTORED, at=now, actor="operator", quoted=quoted)
        transaction.log(restored._replace(count=len(shares), lost=lost))
        if service_rows.get(transaction.connection).locked_down_at is None:
            service_rows.set_lockdown(transaction.connection, now)
            transaction.log(Entry(event=Event.LOCKDOWN_BEGUN, at=now, actor="operator"))
        tokens = access_token_rows.valid(transaction.connection, now)
    resources.destroy_keys(keys)
    return AcceptedRestore(len(shares), lost, tokens)


def _entries_lost(remembered: HighWater | None, quoted: str | None, known: int) -> int:
    """Return how many entries at most are lost: those that the vault's mark or the last checkpoint covers, beyond the
    `known` ones of the restored log.
    """
    sizes = [remembered.log_size if remembered else 0]
    if quoted is not None:
        with suppress(CryptoError):
            sizes.append(Checkpoint.parse(split_note(quoted)[0]).size)
    return max(0, max(sizes) - known)
