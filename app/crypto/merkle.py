"""The Merkle tree of the audit log (RFC 6962, RFC 9162): hashes, proofs and their verification.

Pure functions over bytes: the log's actions pass stored nodes, the verifier passes the proofs that it received. Every
"leaf" below is a leaf hash (32 bytes, `leaf_hash(content)`), not content. Stored nodes are addressed by (level,
index): level 0 holds the leaves; node (l, i) covers leaves i * 2**l to (i + 1) * 2**l - 1 and exists once all do.
"""

import hmac
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from app.crypto.errors import ProofInvalid

Node = Callable[[int, int], bytes]
"""Fetches the stored hash of the complete node at (level, index)."""

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of one entry (RFC 9162 section 2.1.1)."""
    return sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over all leaves by the RFC's recursive definition, for tests and small trees."""
    if not leaf_hashes:
        return EMPTY_ROOT
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    split = _split(len(leaf_hashes))
    return node_hash(root(leaf_hashes[:split]), root(leaf_hashes[split:]))


# The stored tree


def nodes_completed_by(sequence: int, leaf: bytes, node: Node) -> list[tuple[int, int, bytes]]:
    """Return the interior nodes (level, index, hash) that appending leaf number `sequence` completes, lowest first.

    At most log2(n), one on average; the leaf itself, (0, sequence), is not included. `node` is called only for complete
    nodes to the left.
    """
    completed = []
    level, index, current = 0, sequence, leaf
    while index & 1:
        current = node_hash(node(level, index - 1), current)
        level, index = level + 1, index >> 1
        completed.append((level, index, current))
    return completed


def root_of(size: int, node: Node) -> bytes:
    """Return the root of the first `size` leaves of a stored tree."""
    return _range_root(0, size, node)


def peaks_of(size: int, node: Node) -> list[bytes]:
    """Return the roots of the complete subtrees that the first `size` leaves consist of, the largest first."""
    return _peaks(0, size, node)


def inclusion_proof(sequence: int, size: int, node: Node) -> list[bytes]:
    """Return the proof that leaf `sequence` is in the tree of `size` leaves (RFC 9162 section 2.1.3.1).

    Raises ValueError unless 0 <= sequence < size.
    """
    if not 0 <= sequence < size:
        raise ValueError("no such leaf in a tree of this size")
    path = []
    begin, end = 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        if sequence < split:
            path.append(_range_root(split, end, node))
            end = split
        else:
            path.append(_range_root(begin, split, node))
            begin = split
    return path[::-1]


def consistency_proof(old_size: int, size: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of `size` leaves extends the tree of `old_size` leaves (RFC 9162 section 2.1.4.1).

    Empty when the old tree is empty or the sizes are equal. Raises ValueError unless 0 <= old_size <= size.
    """
    if not 0 <= old_size <= size:
        raise ValueError("a tree cannot be consistent with a larger one")
    if old_size == 0:
        return []
    path = []
    begin, end = 0, size
    while old_size != end:
        split = begin + _split(end - begin)
        if old_size <= split:
            path.append(_range_root(split, end, node))
            end = split
        else:
            path.append(_range_root(begin, split, node))
            begin = split
    if begin > 0:  # otherwise this hash is the old root, which the verifier has
        path.append(_range_root(begin, end, node))
    return path[::-1]


# The verifier


def verify_inclusion(leaf: bytes, sequence: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is number `sequence` in the tree of `size` leaves under `root` (RFC 9162 section 2.1.3.2).

    Raises ProofInvalid.
    """
    if not 0 <= sequence < size:
        raise ProofInvalid("the proof is for a leaf outside the tree")
    _check_hashes(leaf, root, *proof)
    index, last, computed = sequence, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if index & 1 or index == last:
            computed = node_hash(sibling, computed)
            index, last = _climb_past_lone_nodes(index, last)
        else:
            computed = node_hash(computed, sibling)
        index, last = index >> 1, last >> 1
    if last != 0 or not hmac.compare_digest(computed, root):
        raise ProofInvalid("the inclusion proof does not lead to the root")


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree under `root` only appended to the one under `old_root` (RFC 9162 section 2.1.4.2).

    Raises ProofInvalid.
    """
    if not 0 <= old_size <= size:
        raise ProofInvalid("the new tree is smaller than the old one")
    _check_hashes(old_root, root, *proof)
    for each_size, each_root in ((old_size, old_root), (size, root)):
        if each_size == 0 and each_root != EMPTY_ROOT:
            raise ProofInvalid("an empty tree has another root than the empty one")
    if 0 < old_size < size:
        _verify_growth(old_size, old_root, size, root, proof)
    elif proof:
        raise ProofInvalid("the consistency proof must be empty for these sizes")
    elif old_size == size and not hmac.compare_digest(old_root, root):
        raise ProofInvalid("two trees of the same size have different roots")


def _verify_growth(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Run the algorithm of RFC 9162 section 2.1.4.2, for 0 < old_size < size."""
    if not proof:
        raise ProofInvalid("the consistency proof is empty")
    if old_size & (old_size - 1) == 0:  # a complete tree is its own first node
        proof = [old_root, *proof]
    index, last = old_size - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old_computed = new_computed = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            raise ProofInvalid("the consistency proof is too long")
        if index & 1 or index == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            index, last = _climb_past_lone_nodes(index, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        index, last = index >> 1, last >> 1
    if last != 0 or not hmac.compare_digest(old_computed, old_root) or not hmac.compare_digest(new_computed, root):
        raise ProofInvalid("the consistency proof does not lead from the old root to the new one")


def _climb_past_lone_nodes(index: int, last: int) -> tuple[int, int]:
    """Skip the levels on which the rightmost node has no sibling and is carried up unchanged."""
    while index and not index & 1:
        index, last = index >> 1, last >> 1
    return index, last


def _range_root(begin: int, end: int, node: Node) -> bytes:
    """Return the root over leaves begin to end - 1; the range must result from the RFC's splits."""
    return fold(_peaks(begin, end, node))


def _peaks(begin: int, end: int, node: Node) -> list[bytes]:
    """Return the stored nodes that make up such a range: one per set bit of its size, the largest first."""
    peaks = []
    size = end - begin
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(node(level, begin >> level))
            begin += 1 << level
    return peaks


def fold(peaks: Iterable[bytes]) -> bytes:
    """Return the root over the complete subtrees with these roots, the largest (leftmost) first."""
    smallest_first = list(peaks)[::-1]
    if not smallest_first:
        return EMPTY_ROOT
    computed = smallest_first[0]
    for peak in smallest_first[1:]:
        computed = node_hash(peak, computed)
    return computed


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1


def _check_hashes(*hashes: bytes) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofInvalid("a hash in the proof does not have 32 bytes")
