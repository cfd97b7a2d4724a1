"""Proves many leaves against one root, caching proven nodes.

`merkle.inclusion_proof` climbs from each leaf to the root. Here a climb ends at the first node that is already proven,
so that a page of adjacent entries costs little more than its leaves.
"""

from __future__ import annotations

from app.crypto import merkle

_KEPT_LEVEL = 10
"""Nodes of this level and above are kept for later pages: one per 1,024 leaves."""


class ProvenTree:
    """The tree of the first `size` leaves under `root` (32 bytes); `node` reads stored nodes, which are untrusted."""

    def __init__(self, size: int, root: bytes, node: merkle.Node) -> None:
        """Prove the peaks (RFC 6962, section 2.1). Raises ValueError if they do not lead to the root, KeyError if one
        of them is missing.
        """
        self.size = size
        self._proven: dict[tuple[int, int], bytes] = {}
        begin, peaks = 0, []
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                place = (level, begin >> level)
                self._proven[place] = node(*place)
                peaks.append(self._proven[place])
                begin += 1 << level
        if merkle.fold(peaks) != root:
            raise ValueError("the tree's peaks do not lead to the root")
        self._peaks = frozenset(self._proven)

    def holds(self, sequence: int, leaf: bytes, node: merkle.Node) -> bool:
        """Return whether a leaf is number `sequence`, which is below `size`. `node` reads the current nodes."""
        climbed: list[tuple[tuple[int, int], bytes]] = []
        place, computed = (0, sequence), leaf
        try:
            while place not in self._proven:
                level, position = place
                sibling = node(level, position ^ 1)
                climbed += [(place, computed), ((level, position ^ 1), sibling)]
                pair = (sibling, computed) if position & 1 else (computed, sibling)
                place, computed = (level + 1, position >> 1), merkle.node_hash(*pair)
        except KeyError:
            return False
        if self._proven[place] != computed:
            return False
        self._proven.update(climbed)
        return True

    def forget_page(self) -> None:
        """Drop the lower nodes, so that memory does not grow from page to page."""
        self._proven = {
            place: value for place, value in self._proven.items() if place[0] >= _KEPT_LEVEL or place in self._peaks
        }
