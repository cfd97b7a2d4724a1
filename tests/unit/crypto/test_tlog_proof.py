"""Receipts in the form of c2sp.org/tlog-proof: one spelling, and nothing in it can be altered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import merkle
from app.crypto.errors import CryptoError, NoteInvalid, ProofInvalid
from app.crypto.signed_note import Checkpoint, Signer, Verifier, new_signing_key
from app.crypto.tlog_proof import TlogProof

ENTRIES = [b"entry %d" % number for number in range(21)]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
SIGNER = Signer("log.example/1", new_signing_key())
KEY = Verifier.parse(SIGNER.verifier_key)


def node(level, index):
    return merkle.root(LEAVES[index << level : (index + 1) << level])


def proof_of(index, size, origin="log.example/1"):
    note = SIGNER.sign(Checkpoint(origin, size, merkle.root(LEAVES[:size])).body())
    return TlogProof(ENTRIES[index], index, tuple(merkle.inclusion_proof(index, size, node)), note)


def test_every_entry_of_every_size_is_proved_and_read_back():
    for size in range(1, len(ENTRIES) + 1):
        for index in range(size):
            proof = proof_of(index, size)
            assert TlogProof.parse(proof.to_text()) == proof
            assert proof.verify(KEY).size == size


def test_the_text_is_that_of_the_specification():
    lines = proof_of(5, 8).to_text().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra ZW50cnkgNQ==", "index 5"]
    assert all(len(line) == 44 for line in lines[3:6])
    assert lines[6:9] == ["", "log.example/1", "8"]


@given(st.data())
def test_any_character_that_is_altered_refuses_it(data):
    text = proof_of(5, 21).to_text()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=0x2FFF, exclude_characters=text[place], exclude_categories=["Cs"]))
    with pytest.raises(CryptoError):
        TlogProof.parse(text[:place] + other + text[place + 1 :]).verify(KEY)


@pytest.mark.parametrize(
    ("given_", "instead"),
    [
        ("index 5", "index 05"),
        ("index 5", "index -5"),
        ("index 5", "index \u0665"),
        ("index 5\n", ""),
        ("extra ZW50cnkgNQ==\n", ""),
        ("extra ZW50cnkgNQ==", "extra ZW50cnkgNR=="),
        ("@v1", "@v2"),
        ("\n\n", "\n"),
        ("index 5\n", "index 5\n" + f"{'A' * 43}=\n" * 64),
        ("index 5", "index " + "9" * 30),
    ],
)
def test_other_spellings_are_refused(given_, instead):
    with pytest.raises(CryptoError):
        TlogProof.parse(proof_of(5, 21).to_text().replace(given_, instead, 1)).verify(KEY)


def test_what_is_far_too_long_is_refused_unread():
    with pytest.raises(ProofInvalid):
        TlogProof.parse("c2sp.org/tlog-proof@v1\n" + "A" * 1_000_000)


def test_a_checkpoint_of_another_log_under_the_same_key_is_refused():
    with pytest.raises(ProofInvalid):
        proof_of(5, 21, origin="log.example/2").verify(KEY)


def test_another_key_is_refused():
    other = Verifier.parse(Signer("log.example/1", new_signing_key()).verifier_key)
    with pytest.raises(NoteInvalid):
        proof_of(5, 21).verify(other)


def test_a_proof_of_more_hashes_than_any_log_needs_is_refused():
    """63 hashes reach from an entry to the root of the largest log there can be."""
    largest = TlogProof(ENTRIES[0], 0, (bytes(32),) * 63, proof_of(0, 1).checkpoint)
    assert TlogProof.parse(largest.to_text()) == largest
    with pytest.raises(ProofInvalid):
        TlogProof.parse(TlogProof(largest.entry, 0, (bytes(32),) * 64, largest.checkpoint).to_text())


def test_a_proof_longer_than_any_is_refused_unread():
    proof = proof_of(0, 1)
    with pytest.raises(ProofInvalid, match="shorter"):
        TlogProof.parse(TlogProof(b"x" * 100_000, 0, proof.hashes, proof.checkpoint).to_text())
