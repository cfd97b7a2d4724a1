"""Check a receipt of deletion against the log's public key, offline: no server, no database, no trust in either."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.crypto.errors import ProofInvalid
from app.crypto.signed_note import Verifier
from app.crypto.tlog_proof import TlogProof
from app.domain.audit_events import Event


@dataclass(frozen=True, slots=True)
class ReceiptVerdict:
    """What a receipt that holds says: the entry as it stands in the log, and the log and size that it was signed in."""

    transfer: str
    entry: dict[str, object]
    origin: str
    size: int


def verify_receipt(receipt: str, public_key: str) -> ReceiptVerdict:
    """Check signature, proof, and that the entry says of a transfer that it was deleted.

    Raises NoteInvalid (key, checkpoint or its signature) and ProofInvalid (anything else).
    """
    proof = TlogProof.parse(receipt)
    checkpoint = proof.verify(Verifier.parse(public_key.strip()))
    entry = _deletion(proof)
    return ReceiptVerdict(str(entry["transfer"]), entry, checkpoint.origin, checkpoint.size)


def _deletion(proof: TlogProof) -> dict[str, object]:
    try:
        entry = json.loads(proof.entry)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or entry.get("sequence") != proof.index:
        raise ProofInvalid("what the receipt proves is no entry of its place in the log")
    if entry.get("event") != Event.TRANSFER_DELETED or not isinstance(entry.get("transfer"), str):
        raise ProofInvalid("the entry does not say that a transfer was deleted")
    return entry
