"""Verify a deletion receipt offline against the log's public key. Neither server nor database is needed or trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.crypto.errors import ProofInvalid
from app.crypto.signed_note import Verifier
from app.crypto.tlog_proof import TlogProof
from app.domain.audit_events import Event


@dataclass(frozen=True, slots=True)
class ReceiptVerdict:
    """The contents of a valid receipt: the log entry of the deletion, and the origin and size of the signed log."""

    transfer: str
    entry: dict[str, object]
    origin: str
    size: int


def verify_receipt(receipt: str, public_key: str) -> ReceiptVerdict:
    """Verify the signature and the proof, and that the entry records the deletion of a transfer.

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
        raise ProofInvalid("the receipt does not contain the log entry of its index")
    if entry.get("event") != Event.TRANSFER_DELETED or not isinstance(entry.get("transfer"), str):
        raise ProofInvalid("the entry does not record the deletion of a transfer")
    return entry
