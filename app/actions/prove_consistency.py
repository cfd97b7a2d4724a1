"""Prove that the log only grew since a checkpoint that somebody kept.

The proof needs only the tree's stored nodes, so it is quick for a log of any size. It compares what was signed; it does
not recompute the entries, as `caducee audit verify` and the check of an export do.
"""

from __future__ import annotations

from dataclasses import replace

from app.crypto import merkle
from app.crypto.consistency_proof import ConsistencyProof
from app.crypto.errors import CryptoError, NoteInvalid
from app.crypto.proof_text import Kind, kind_of, proof_text
from app.crypto.signed_note import Checkpoint, Verifier, split_note
from app.db import audit_tree
from app.domain.consistency import Consistency, ExplainingEntry, Outcome
from app.domain.errors import CheckpointNotFound, InvalidRequest
from app.lifecycle.evidence import signed_head
from app.lifecycle.renewed_origin import explaining_entry, is_signed_under_its_origin
from app.runtime.resources import Resources
from app.storage.signing_folder import SigningFolder


def prove_consistency(resources: Resources, kept: str) -> Consistency:
    """Return the proof from the kept checkpoint, a signed note, to the newest one. Raises InvalidRequest,
    CheckpointNotFound.
    """
    note = proof_text(kept)
    signing = SigningFolder(resources.settings.signing_dir)
    newest, text = signing.last_checkpoint(), signing.verifier_key()
    if newest is None or text is None:
        raise CheckpointNotFound
    older, key = _checkpoint_in(note), Verifier.parse(text)
    newer = Checkpoint.parse(key.verify(newest))
    outcome, proof, entry = _compared(note, older, newer, key), None, None
    if outcome is Outcome.OTHER_ORIGIN:
        outcome, entry = _explained(resources, note, older, newer, key)
    if outcome is Outcome.CONSISTENT:
        proof = _proof(resources, ConsistencyProof(older.size, (), newest), newer.size)
        if proof is None or not _verifies(proof, note, key):
            outcome, proof = Outcome.DIFFERENT, None
    said = None if proof is None else proof.to_text()
    return Consistency(outcome, signed_head(older), signed_head(newer), said, text, entry)


def _checkpoint_in(note: str) -> Checkpoint:
    if kind_of(note) is not Kind.CHECKPOINT:
        raise InvalidRequest(
            "Not a checkpoint: give the whole text that `caducee audit checkpoint` printed, with its empty line."
        )
    return Checkpoint.parse(split_note(note)[0])


def _compared(note: str, older: Checkpoint, newer: Checkpoint, key: Verifier) -> Outcome:
    """Return the outcome without the tree."""
    if older.origin != key.name:
        return Outcome.OTHER_ORIGIN
    try:
        key.verify(note)
    except NoteInvalid:
        return Outcome.NOT_SIGNED
    return Outcome.LOG_IS_SHORTER if older.size > newer.size else Outcome.CONSISTENT


def _explained(
    resources: Resources, note: str, older: Checkpoint, newer: Checkpoint, key: Verifier
) -> tuple[Outcome, ExplainingEntry | None]:
    """Return the outcome for a checkpoint of another origin, and the entry that explains it. A log under a new origin
    is signed with the same key or another one.
    """
    signed = is_signed_under_its_origin(note, older, key)
    with resources.database.reading() as connection:
        entry = explaining_entry(connection, older, newer, signed=signed)
    return (Outcome.OTHER_ORIGIN if entry is None else Outcome.RENEWED), entry


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
