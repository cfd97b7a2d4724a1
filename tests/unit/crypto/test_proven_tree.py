"""Many leaves proved against one root: the same answers as single inclusion proofs, for fewer nodes."""

from hashlib import sha256

import pytest

from app.crypto import merkle
from app.crypto.proven_tree import ProvenTree


class Stored:
    """A tree as a log stores it: leaves and complete nodes; counts what is read."""

    def __init__(self, size: int) -> None:
        self.leaves = [merkle.leaf_hash(bytes([number % 256, number // 256])) for number in range(size)]
        self.nodes = {(0, number): leaf for number, leaf in enumerate(self.leaves)}
        for sequence, leaf in enumerate(self.leaves):
            for level, position, value in merkle.nodes_completed_by(sequence, leaf, self.node):
                self.nodes[level, position] = value
        self.reads = 0

    def node(self, level: int, position: int) -> bytes:
        self.reads = getattr(self, "reads", 0) + 1
        return self.nodes[level, position]

    @property
    def root(self) -> bytes:
        return merkle.root(self.leaves)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 100, 255])
def test_every_leaf_of_the_tree_is_held_and_no_other(size):
    stored = Stored(size)
    tree = ProvenTree(size, stored.root, stored.node)
    for sequence, leaf in enumerate(stored.leaves):
        assert tree.holds(sequence, leaf, stored.node)
        assert not tree.holds(sequence, sha256(leaf).digest(), stored.node)


def test_a_tree_that_grew_still_holds_what_was_remembered():
    stored = Stored(100)
    remembered = merkle.root(stored.leaves[:70])
    tree = ProvenTree(70, remembered, stored.node)
    assert all(tree.holds(sequence, stored.leaves[sequence], stored.node) for sequence in range(70))


def test_peaks_that_do_not_lead_to_the_root_are_refused():
    stored = Stored(9)
    with pytest.raises(ValueError, match="root"):
        ProvenTree(9, sha256(b"another").digest(), stored.node)


def test_a_missing_peak_is_an_error_of_its_own():
    stored = Stored(9)
    root = stored.root
    del stored.nodes[3, 0]
    with pytest.raises(KeyError):
        ProvenTree(9, root, stored.node)


@pytest.mark.parametrize("place", [(0, 4), (1, 3), (2, 0)])
def test_a_node_on_the_path_that_was_changed_or_taken_proves_nothing(place):
    """Sibling of leaf 5, of the pair above it, and of the four above that."""
    for damage in ("changed", "taken"):
        stored = Stored(8)
        tree = ProvenTree(8, stored.root, stored.node)
        if damage == "changed":
            stored.nodes[place] = bytes(32)
        else:
            del stored.nodes[place]
        assert not tree.holds(5, stored.leaves[5], stored.node)


def test_a_refused_leaf_leaves_nothing_behind_that_a_later_one_could_lean_on():
    stored = Stored(8)
    tree = ProvenTree(8, stored.root, stored.node)
    forged = merkle.leaf_hash(b"forged")
    assert not tree.holds(4, forged, stored.node)
    assert not tree.holds(4, forged, stored.node)
    assert tree.holds(4, stored.leaves[4], stored.node)


def test_neighbours_cost_little_more_than_their_leaves():
    stored = Stored(1024)
    tree = ProvenTree(1024, stored.root, stored.node)
    before = stored.reads
    for sequence in range(512, 768):
        assert tree.holds(sequence, stored.leaves[sequence], stored.node)
    assert stored.reads - before < 300, "one by one it would be 2,560"


def test_a_page_that_is_forgotten_is_proved_anew():
    stored = Stored(2_000)
    tree = ProvenTree(2_000, stored.root, stored.node)
    assert all(tree.holds(sequence, stored.leaves[sequence], stored.node) for sequence in range(2_000))
    tree.forget_page()
    stored.nodes[0, 4] = bytes(32)
    assert not tree.holds(5, stored.leaves[5], stored.node)
    assert tree.holds(1_999, stored.leaves[1_999], stored.node)
