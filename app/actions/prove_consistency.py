"""Prove that the log only grew since a checkpoint that somebody kept.

The proof needs only the tree's stored nodes, so it is quick for a log of any size. It compares what was signed; it does
not recompute the entries, as `caducee audit verify` and the check of an export do.
"""

from __future__ import annotations

from dataclasses import replace

from app.crypto import merkle
from app.crypto.consistency_proof import ConsistencyProof
from app.crypto.errors import CryptoError, NoteInvalid
from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_tree
from app.domain.consistency import Consistency, Outcome
from app.domain.errors import CheckpointNotFound, InvalidRequest
from app.lifecycle.evidence import signed_head
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder


def prove_consistency(resources: Resources, kept: str) -> Consistency:
    """Return the proof from the kept checkpoint, a signed note, to the newest one. Raises InvalidRequest,
    CheckpointNotFound.
    """
    note = f"{kept.replace(chr(13), '').strip()}\n"  # as a text area or a mail leaves it
    signing = SigningFolder(resources.settings.signing_dir)
    newest, text = signing.last_checkpoint(), signing.verifier_key()
    if newest is None or text is None:
        raise CheckpointNotFound
    older, key = _checkpoint_in(note), Verifier.parse(text)
    newer = Checkpoint.parse(key.verify(newest))
    outcome = _compared(note, older, newer, key)
    proof = None
    if outcome is Outcome.CONSISTENT:
        proof = _proof(resources, ConsistencyProof(older.size, (), newest), newer.size)
        if proof is None or not _verifies(proof, note, key):
            outcome, proof = Outcome.DIFFERENT, None
    said = None if proof is None else proof.to_text()
    return Consistency(outcome, signed_head(older), signed_head(newer), said, text)


def _checkpoint_in(note: str) -> Checkpoint:
    try:
        return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
    except CryptoError:
        raise InvalidRequest(
            "Not a checkpoint: give the whole text that `caducee audit checkpoint` printed, with its empty line."
        ) from None


def _compared(note: str, older: Checkpoint, newer: Checkpoint, key: Verifier) -> Outcome:
    """Return the outcome without the tree. A log under a new origin is signed with the same key or another one."""
    if older.origin != key.name:
        return Outcome.OTHER_ORIGIN
    try:
        key.verify(note)
    except NoteInvalid:
        return Outcome.NOT_SIGNED
    return Outcome.LOG_IS_SHORTER if older.size > newer.size else Outcome.CONSISTENT


def _proof(resources: Resources, proof: ConsistencyProof, size: int) -> ConsistencyProof | None:
    """Return the proof with its hashes; None if a stored node is missing."""
    try:
        with resources.database.reading() as connection:
            hashes = merkle.consistency_proof(proof.old_size, size, audit_tree.node_reader(connection))
    except KeyError:
        return None
    return replace(proof, hashes=tuple(hashes))


def _verifies(proof: ConsistencyProof, kept: str, key: Verifier) -> bool:
    try:
        proof.verify(kept, key)
    except CryptoError:
        return False
    return True
