"""Transparency log proofs: one text that proves offline that an entry is in a log (c2sp.org/tlog-proof).

A receipt of deletion is such a proof with the entry itself, the canonical JSON that was hashed, as its `extra` data.
The format does not authenticate that line; here the proof starts from its hash, so the signature covers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.crypto import merkle
from app.crypto.encoding import from_base64, to_base64
from app.crypto.errors import ProofInvalid
from app.crypto.signed_note import Checkpoint, Verifier

HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_MAX_HASHES = 63  # of the largest possible log
_MAX_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The entry (bytes), its index, the inclusion proof from the leaf's sibling up, the checkpoint (a signed note)."""

    entry: bytes
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def to_text(self) -> str:
        """Serialise to the format's text."""
        lines = [HEADER, f"extra {to_base64(self.entry)}", f"index {self.index}", *map(to_base64, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """Parse the output of `to_text`, in exactly that spelling. Raises ProofInvalid."""
        if len(text) > _MAX_CHARS:
            raise ProofInvalid("a valid proof is shorter")
        proof, separator, checkpoint = text.partition("\n\n")
        header, *lines = proof.split("\n")
        if header != HEADER or not separator or len(lines) < 2 or not lines[0].startswith("extra "):
            raise ProofInvalid("not a transparency log proof with its entry")
        index = _INDEX.fullmatch(lines[1])
        if index is None or len(lines) - 2 > _MAX_HASHES:
            raise ProofInvalid("not a well-formed transparency log proof")
        entry = from_base64(lines[0].removeprefix("extra "), ProofInvalid)
        return cls(entry, int(index[1]), tuple(from_base64(line, ProofInvalid) for line in lines[2:]), checkpoint)

    def verify(self, key: Verifier) -> Checkpoint:
        """Verify signature, origin and inclusion; return the checkpoint. Raises NoteInvalid, ProofInvalid."""
        checkpoint = Checkpoint.parse(key.verify(self.checkpoint))
        if checkpoint.origin != key.name:
            raise ProofInvalid("the checkpoint and the key belong to different logs")
        merkle.verify_inclusion(merkle.leaf_hash(self.entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint
