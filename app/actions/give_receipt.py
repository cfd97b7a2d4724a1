"""Issue a deletion receipt: a signed proof that the log records the verified deletion of a transfer's keys and bytes.
They are searched for again first, since a log entry does not prove that nothing is there now.

A receipt is verified offline with the log's public key, even years later, when the log keeps only the entry's hash.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Connection

from app.crypto import merkle
from app.crypto.errors import CryptoError
from app.crypto.signed_note import Checkpoint
from app.crypto.tlog_proof import TlogProof
from app.db import audit_pruning, audit_queries, audit_tree, checkpoint_rows, service_rows, transfer_rows
from app.db.audit_rows import StoredEntry
from app.db.checkpoint_rows import StoredCheckpoint
from app.domain.access_token import Caller, require_owner
from app.domain.errors import (
    BlobsOutOfReach,
    DeletionContradicted,
    LogAltered,
    NotDeletedYet,
    ReceiptNotSigned,
    ReceiptPruned,
    RestoreNotAccepted,
    VaultOutOfReach,
)
from app.domain.transfer import TransferState
from app.lifecycle.gone import traces_of
from app.lifecycle.rollback import DatabaseRolledBack, require_not_rolled_back
from app.lifecycle.secret_lookup import find_by_proof
from app.runtime.resources import Resources
from app.storage.errors import StorageError, VaultUnavailable

log = structlog.get_logger()

_MISSING = {
    "end": "the transfer has not ended",
    "keys": "the sweep has not yet recorded that no key of it is left in the vault",
    "bytes": "its blobs were not yet observed to be gone from the store",
    "verification": "the final search of vault and store is not done",
}
_NEXT_STEP = {
    TransferState.RECEIVING: "end",
    TransferState.LIVE: "end",
    TransferState.DENIED: "keys",
    TransferState.KEYS_DESTROYED: "bytes",
}


def give_receipt(resources: Resources, transfer_id: str, *, caller: Caller | None = None) -> str:
    """Return the receipt, a C2SP tlog-proof. An operator (no caller) gets it for any transfer.

    Raises TransferNotFound (also for others' transfers), NotDeletedYet, ReceiptNotSigned, ReceiptPruned, LogAltered;
    DeletionContradicted when something of the transfer is there, RestoreNotAccepted, VaultOutOfReach, BlobsOutOfReach.
    """
    entry = _attested_deletion(resources, transfer_id, caller)
    _require_gone(resources, transfer_id)
    with resources.database.reading() as connection:
        return _proof(connection, entry, entry.content or "", _covering(connection, entry)).to_text()


def transfer_of_link(resources: Resources, share_id: str, link_proof: bytes) -> str:
    """Return the transfer whose receipt the holder of a link may have. Raises ShareNotFound, at the same cost, for an
    unknown share and for a wrong proof.
    """
    with resources.database.reading() as connection:
        share, _ = find_by_proof(connection, share_id, link_proof)
    return share.transfer_id


def _attested_deletion(resources: Resources, transfer_id: str, caller: Caller | None) -> StoredEntry:
    """Return the log's last entry of this transfer, which must record the deletion; the row's time is not trusted."""
    with resources.database.reading() as connection:
        transfer = require_owner(transfer_rows.find(connection, transfer_id), caller)
        if transfer.verified_at is None:
            raise _not_deleted(transfer.state)
        entry = audit_queries.find_deletion(connection, transfer_id)
        if entry is None and not audit_pruning.pruned_below(connection):
            raise NotDeletedYet
    if entry is None or entry.content is None:
        raise ReceiptPruned
    return entry


def _not_deleted(state: TransferState) -> NotDeletedYet:
    """Return the refusal that names the next step that was not observed."""
    missing = _NEXT_STEP.get(state, "verification")
    return NotDeletedYet(f"Missing: {_MISSING[missing]}.", missing=missing)


def _require_gone(resources: Resources, transfer_id: str) -> None:
    """Raise DeletionContradicted if anything of the transfer is left. Also raises RestoreNotAccepted, VaultOutOfReach,
    BlobsOutOfReach.
    """
    try:
        require_not_rolled_back(resources)
        traces = traces_of(resources, transfer_id)
    except DatabaseRolledBack as error:
        raise RestoreNotAccepted from error
    except VaultUnavailable as error:
        raise VaultOutOfReach from error
    except StorageError as error:
        raise BlobsOutOfReach from error
    if traces:
        log.error("deletion_contradicted", transfer=transfer_id, keys=len(traces.names), alert=True)
        raise DeletionContradicted


def _covering(connection: Connection, entry: StoredEntry) -> StoredCheckpoint:
    """Return the newest checkpoint of the current origin, which today's public key verifies."""
    newest = checkpoint_rows.last(connection)
    origin = service_rows.get(connection).log_origin
    if newest is None or newest.size <= entry.sequence or not newest.note.startswith(f"{origin}\n"):
        raise ReceiptNotSigned
    return newest


def _proof(connection: Connection, entry: StoredEntry, content: str, signed: StoredCheckpoint) -> TlogProof:
    """Return a verified inclusion proof; the checkpoint's signature is left to the receipt's verifier."""
    try:
        hashes = merkle.inclusion_proof(entry.sequence, signed.size, audit_tree.node_reader(connection))
        checkpoint = Checkpoint.parse(signed.note.rpartition("\n\n")[0] + "\n")
        leaf = merkle.leaf_hash(content.encode())
        merkle.verify_inclusion(leaf, entry.sequence, checkpoint.size, hashes, checkpoint.root)
    except (CryptoError, KeyError):
        log.error("log_altered", entry=entry.sequence, alert=True)
        raise LogAltered from None
    return TlogProof(content.encode(), entry.sequence, tuple(hashes), signed.note)
