"""Consistency proofs as text: that the log under a newer checkpoint only appended to the one under an older checkpoint.

The text is the body of a request to a witness (c2sp.org/tlog-witness, `add-checkpoint`): the old size, the hashes, and
the newer checkpoint. The older checkpoint is not part of it: the verifier has kept it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.crypto import merkle
from app.crypto.encoding import from_base64, to_base64
from app.crypto.errors import ProofInvalid
from app.crypto.signed_note import Checkpoint, Verifier

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_MAX_HASHES = 63
_MAX_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """The size of the older tree, the proof's hashes, and the newer checkpoint (a signed note)."""

    old_size: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def to_text(self) -> str:
        """Serialise to the format's text."""
        return "\n".join([f"old {self.old_size}", *map(to_base64, self.hashes)]) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> ConsistencyProof:
        """Parse the output of `to_text`, in exactly that spelling. Raises ProofInvalid."""
        proof, separator, checkpoint = text.partition("\n\n")
        first, *lines = proof.split("\n")
        old = _OLD.fullmatch(first)
        if len(text) > _MAX_CHARS or not separator or old is None or len(lines) > _MAX_HASHES:
            raise ProofInvalid("not a consistency proof with its checkpoint")
        return cls(int(old[1]), tuple(from_base64(line, ProofInvalid) for line in lines), checkpoint)

    def verify(self, kept: str, key: Verifier) -> tuple[Checkpoint, Checkpoint]:
        """Verify both checkpoints and the proof; return the kept one and the newer one. Raises NoteInvalid,
        ProofInvalid.
        """
        older, newer = Checkpoint.parse(key.verify(kept)), Checkpoint.parse(key.verify(self.checkpoint))
        if older.origin != key.name or newer.origin != key.name:
            raise ProofInvalid("the checkpoints and the key belong to different logs")
        if older.size != self.old_size:
            raise ProofInvalid("the proof is for another checkpoint than the kept one")
        merkle.verify_consistency(older.size, older.root, newer.size, newer.root, self.hashes)
        return older, newer
