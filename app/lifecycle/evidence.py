"""Tie a report to the log: its size, its last signed checkpoint, and the version that made the report."""

from __future__ import annotations

from importlib.metadata import version

from app.crypto.encoding import to_base64
from app.crypto.errors import CryptoError
from app.crypto.signed_note import Checkpoint
from app.db import audit_size
from app.domain.evidence import Evidence, SignedHead
from app.runtime.resources import Resources
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder


def evidence_of(resources: Resources) -> Evidence:
    """Return the state of the log. A checkpoint that cannot be read is reported as absent."""
    signing = SigningFolder(resources.settings.signing_dir)
    try:
        note, key = signing.last_checkpoint(), signing.verifier_key()
        head = None if note is None else signed_head(Checkpoint.parse(note.rpartition("\n\n")[0] + "\n"))
    except (StorageError, CryptoError):
        head, key = None, None
    with resources.database.reading() as connection:
        entries = audit_size.size(connection)
    return Evidence(version("caducee"), entries, head, key)


def signed_head(checkpoint: Checkpoint) -> SignedHead:
    """Return a checkpoint as reports show it."""
    return SignedHead(checkpoint.origin, checkpoint.size, to_base64(checkpoint.root))
