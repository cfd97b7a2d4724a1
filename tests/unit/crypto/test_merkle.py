"""The log's tree against the reference vectors and the RFC's recursive definition; every altered proof refused."""

from base64 import b64decode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import merkle
from app.crypto.errors import ProofInvalid
from app.crypto.log_check import GrowingTree

LEAVES = [merkle.leaf_hash(b"%d" % i) for i in range(70)]


class StoredTree:
    """A tree as the database holds it: complete nodes by (level, index), and a count of what was asked."""

    def __init__(self, leaves):
        self.nodes = {}
        self.fetched = 0
        for sequence, leaf in enumerate(leaves):
            self.nodes[0, sequence] = leaf
            for level, index, value in merkle.nodes_completed_by(sequence, leaf, self.node):
                assert (level, index) not in self.nodes
                self.nodes[level, index] = value

    def node(self, level, index):
        self.fetched += 1
        return self.nodes[level, index]


@pytest.fixture(scope="module")
def tree():
    return StoredTree(LEAVES)


@pytest.fixture(scope="module")
def reference(merkle_vectors):
    """The stored tree of the reference leaves, and their roots by size."""
    leaves = [merkle.leaf_hash(bytes.fromhex(each)) for each in merkle_vectors["leaves_hex"]]
    roots = [merkle_vectors["empty_root_hex"], *merkle_vectors["roots_hex"]]
    return leaves, StoredTree(leaves), [bytes.fromhex(each) for each in roots]


def test_reference_roots(reference):
    """Four ways to the same root: definition, stored tree, the verifier's growing tree, vectors."""
    leaves, stored, roots = reference
    tree = GrowingTree()
    assert merkle.EMPTY_ROOT == roots[0] == merkle.fold(tree.peaks())
    for size, expected in enumerate(roots):
        assert merkle.root(leaves[:size]) == merkle.root_of(size, stored.node) == merkle.fold(tree.peaks()) == expected
        assert tree.size == size
        tree.add(leaves[size : size + 1], None)


def test_reference_inclusion_proofs(merkle_vectors, reference):
    """Made here as in the vectors, and accepted."""
    leaves, stored, roots = reference
    for case in merkle_vectors["inclusion"]:
        proof = [b64decode(each) for each in case["proof_base64"]]
        index, size = case["index"], case["size"]
        assert merkle.inclusion_proof(index, size, stored.node) == proof
        merkle.verify_inclusion(leaves[index], index, size, proof, roots[size])


def test_reference_consistency_proofs(merkle_vectors, reference):
    """Made here as in the vectors, and accepted."""
    _, stored, roots = reference
    for case in merkle_vectors["consistency"]:
        proof = [b64decode(each) for each in case["proof_base64"]]
        old, new = case["from"], case["to"]
        assert merkle.consistency_proof(old, new, stored.node) == proof
        merkle.verify_consistency(old, roots[old], new, roots[new], proof)


def test_every_proof_of_every_small_tree(tree):
    """All leaves and all pairs of sizes up to 70."""
    roots = [merkle.root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]
    for size in range(1, len(LEAVES) + 1):
        assert merkle.root_of(size, tree.node) == roots[size]
        for i in range(size):
            merkle.verify_inclusion(LEAVES[i], i, size, merkle.inclusion_proof(i, size, tree.node), roots[size])
        for old in range(size + 1):
            proof = merkle.consistency_proof(old, size, tree.node)
            merkle.verify_consistency(old, roots[old], size, roots[size], proof)


def test_stored_nodes_are_those_of_the_definition(tree):
    """Node (level, index) is the root over its own leaves; appending stores fewer than one for each leaf."""
    for (level, index), value in tree.nodes.items():
        assert value == merkle.root(LEAVES[index << level : (index + 1) << level])
    assert len(tree.nodes) < 2 * len(LEAVES)


def test_work_grows_with_the_logarithm():
    """At 2**40 leaves nothing asks for more than a few dozen nodes."""
    asked = []

    def node(level, index):
        asked.append((level, index))
        return bytes(32)

    size = 2**40 - 3
    for work in (
        lambda: merkle.root_of(size, node),
        lambda: merkle.inclusion_proof(2**39 + 12345, size, node),
        lambda: merkle.consistency_proof(2**33 + 77, size, node),
        lambda: merkle.nodes_completed_by(2**40 - 1, bytes(32), node),
    ):
        asked.clear()
        work()
        assert 0 < len(asked) <= 100


def test_only_complete_nodes_are_asked_for():
    """A proof for a size in the past does not touch what came after it."""
    stored = StoredTree(LEAVES[:70])
    past = StoredTree(LEAVES[:37])
    assert merkle.inclusion_proof(36, 37, past.node) == merkle.inclusion_proof(36, 37, stored.node)
    assert merkle.consistency_proof(20, 37, past.node) == merkle.consistency_proof(20, 37, stored.node)


def altered_proofs(proof):
    """Bit-flipped, truncated, extended, reordered, and with a hash of another length."""
    for i, value in enumerate(proof):
        yield [*proof[:i], bytes([value[0] ^ 1]) + value[1:], *proof[i + 1 :]]
        yield [*proof[:i], value[:31], *proof[i + 1 :]]
        yield [*proof[:i], *proof[i + 1 :]]
    yield [*proof, bytes(32)]
    yield [bytes(32), *proof]
    if len(proof) > 1:
        yield proof[::-1]


@given(st.integers(1, 70), st.data())
def test_altered_inclusion_proofs_are_refused(size, data):
    """Another proof, leaf, position, size or root."""
    stored = StoredTree(LEAVES[:size])
    i = data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(i, size, stored.node), merkle.root(LEAVES[:size])
    claims = [(LEAVES[i], i, size, bad, root) for bad in altered_proofs(proof)]
    claims += [
        (merkle.leaf_hash(b"other"), i, size, proof, root),
        (LEAVES[i], i, size, proof, merkle.leaf_hash(b"other")),
        (LEAVES[i], i, size, proof, b""),
        (LEAVES[i], size, size, proof, root),
        (LEAVES[i], -1, size, proof, root),
    ]
    if size > 1:
        claims.append((LEAVES[i], (i + 1) % size, size, proof, root))
    for claim in claims:
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(*claim)


@given(st.integers(2, 70), st.data())
def test_altered_consistency_proofs_are_refused(size, data):
    """Another proof, another old root, another new root, sizes the wrong way round."""
    stored = StoredTree(LEAVES[:size])
    old = data.draw(st.integers(1, size - 1))
    old_root, root = merkle.root(LEAVES[:old]), merkle.root(LEAVES[:size])
    proof = merkle.consistency_proof(old, size, stored.node)
    other = merkle.leaf_hash(b"other")
    claims = [(old, old_root, size, root, bad) for bad in altered_proofs(proof)]
    claims += [(old, other, size, root, proof), (old, old_root, size, other, proof), (size, root, old, old_root, proof)]
    for claim in claims:
        with pytest.raises(ProofInvalid):
            merkle.verify_consistency(*claim)


@given(st.integers(2, 70), st.data())
def test_a_rewritten_log_has_no_consistency_proof(size, data):
    """One old entry changed: the honest proof of the rewritten tree does not lead from the old root."""
    old = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old - 1))
    rewritten = [*LEAVES[:changed], merkle.leaf_hash(b"rewritten"), *LEAVES[changed + 1 : size]]
    proof = merkle.consistency_proof(old, size, StoredTree(rewritten).node)
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(old, merkle.root(LEAVES[:old]), size, merkle.root(rewritten), proof)


def test_trees_of_equal_size_and_empty_trees():
    """Equal sizes need equal roots; the empty tree has one root only; neither has a proof."""
    one, other, empty = LEAVES[0], LEAVES[1], merkle.EMPTY_ROOT
    merkle.verify_consistency(1, one, 1, one, [])
    merkle.verify_consistency(0, empty, 0, empty, [])
    merkle.verify_consistency(0, empty, 1, one, [])
    for bad in [
        (1, one, 1, other, []),
        (1, one, 1, one, [other]),
        (0, one, 1, one, []),
        (0, empty, 0, one, []),
        (0, one, 0, one, []),
        (0, empty, 1, one, [one]),
        (1, one, 2, other, []),
        (-1, empty, 1, one, []),
    ]:
        with pytest.raises(ProofInvalid):
            merkle.verify_consistency(*bad)


def test_a_node_cannot_pass_for_a_leaf():
    """Domain separation: the bytes of two children are not an entry with the parent's hash."""
    assert merkle.leaf_hash(LEAVES[0] + LEAVES[1]) != merkle.node_hash(LEAVES[0], LEAVES[1])
    assert merkle.leaf_hash(b"") == sha256(b"\0").digest()


def test_an_interior_node_is_not_included_as_a_leaf():
    """A proof that stops short: the hashes agree, the number of levels does not."""
    root = merkle.root(LEAVES[:4])
    left, right = merkle.root(LEAVES[:2]), merkle.root(LEAVES[2:4])
    for leaf, proof in ((root, []), (left, [right])):
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(leaf, 0, 4, proof, root)


def test_a_byte_moved_between_two_hashes_is_refused():
    """Hashes of 33 and 31 bytes join to the same 64."""
    one, other = LEAVES[:2]
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(one + other[:1], 0, 2, [other[1:]], merkle.root(LEAVES[:2]))


@pytest.mark.parametrize(("sequence", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_no_proof_for_a_leaf_outside_the_tree(tree, sequence, size):
    """A bug of the caller."""
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.inclusion_proof(sequence, size, tree.node)


def test_no_consistency_proof_backwards(tree):
    """A bug of the caller."""
    with pytest.raises(ValueError, match="larger"):
        merkle.consistency_proof(6, 5, tree.node)
