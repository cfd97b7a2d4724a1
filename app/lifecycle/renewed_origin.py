"""Whether the log itself explains a kept checkpoint of another origin: an entry that closed that origin, and quotes it.

The entry counts only if the newest signed checkpoint covers it, so a row written into the database explains nothing.
The kept checkpoint's entries must be in the signed log, proved by their root; or they are among those that the entry
reports as lost with a restored database, and then the checkpoint must be signed with the log's key.
"""

from __future__ import annotations

from sqlalchemy import Connection

from app.crypto import merkle
from app.crypto.errors import CryptoError
from app.crypto.log_verifier import renewal_in
from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_queries, audit_tree
from app.db.audit_rows import StoredEntry
from app.domain.consistency import ExplainingEntry
from app.domain.log_verdict import Renewal


def explaining_entry(
    connection: Connection, kept: Checkpoint, newest: Checkpoint, *, signed: bool
) -> ExplainingEntry | None:
    """Return the entry that explains the origin of a kept checkpoint; None if there is none, or if it does not explain
    this checkpoint. `signed`: the log's key signed it under its origin.
    """
    for entry in audit_queries.renewals(connection):
        renewal = renewal_in(entry.sequence, entry.fields())
        at = entry.logged_at()
        if renewal.origin != kept.origin or at is None or not _is_signed(connection, entry, newest):
            continue
        lost = 0 if _is_prefix(connection, kept, newest) else _lost(renewal, kept) if signed else None
        if lost is not None:
            return ExplainingEntry(entry.sequence, renewal.event, at, lost)
    return None


def is_signed_under_its_origin(note: str, kept: Checkpoint, key: Verifier) -> bool:
    """Return whether the log's key, under the name of the checkpoint's origin, signed a note."""
    try:
        key.under_name(kept.origin).verify(note)
    except CryptoError:
        return False
    return True


def _is_signed(connection: Connection, entry: StoredEntry, newest: Checkpoint) -> bool:
    """Return whether the newest checkpoint covers this entry, as its content is stored."""
    if entry.content is None or entry.sequence >= newest.size:
        return False
    leaf = merkle.leaf_hash(entry.content.encode())
    try:
        path = merkle.inclusion_proof(entry.sequence, newest.size, audit_tree.node_reader(connection))
        merkle.verify_inclusion(leaf, entry.sequence, newest.size, path, newest.root)
    except (KeyError, CryptoError):
        return False
    return True


def _is_prefix(connection: Connection, kept: Checkpoint, newest: Checkpoint) -> bool:
    """Return whether the signed log begins with the entries of the kept checkpoint."""
    if kept.size > newest.size:
        return False
    try:
        path = merkle.consistency_proof(kept.size, newest.size, audit_tree.node_reader(connection))
        merkle.verify_consistency(kept.size, kept.root, newest.size, newest.root, path)
    except (KeyError, CryptoError):
        return False
    return True


def _lost(renewal: Renewal, kept: Checkpoint) -> int | None:
    """Return how many entries of the kept checkpoint are lost, at most; None if none of them can be among those that
    the renewal reports as lost.
    """
    ended_with = renewal.signed_size or 0
    lost = kept.size - (ended_with - renewal.lost)
    return lost if lost > 0 and kept.size <= ended_with else None
