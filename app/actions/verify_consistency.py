"""Verify a consistency proof offline against a kept checkpoint and the log's public key."""

from __future__ import annotations

from dataclasses import dataclass

from app.crypto.consistency_proof import ConsistencyProof
from app.crypto.signed_note import Verifier


@dataclass(frozen=True, slots=True)
class GrowthVerdict:
    """A valid proof: the log of this origin grew from `kept_size` to `size` entries and only appended."""

    origin: str
    kept_size: int
    size: int


def verify_consistency(proof: str, kept: str, public_key: str) -> GrowthVerdict:
    """Verify both signatures and the proof. Raises NoteInvalid (key, checkpoint or signature) and ProofInvalid."""
    older, newer = ConsistencyProof.parse(proof).verify(kept, Verifier.parse(public_key.strip()))
    return GrowthVerdict(newer.origin, older.size, newer.size)
