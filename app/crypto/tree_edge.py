"""The right edge of the log's Merkle tree: all that is needed to add leaves and compute the next root (RFC 6962)."""

from app.crypto import merkle


class TreeEdge:
    """A tree of `size` leaves, reduced to the roots of the complete subtrees that it consists of."""

    def __init__(self, size: int, node: merkle.Node) -> None:
        """Read the edge of a stored tree. Raises the errors of `node`."""
        self.size = size
        self._peaks = merkle.peaks_of(size, node)

    def add(self, leaf: bytes) -> None:
        """Append a leaf."""
        position = self.size
        while position & 1:
            leaf = merkle.node_hash(self._peaks.pop(), leaf)
            position >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves."""
        return merkle.fold(self._peaks)
