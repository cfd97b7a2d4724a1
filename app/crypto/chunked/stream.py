"""Splits a stream into blocks, converts them, and returns them in pieces of about 1 MiB.

The common base of `Encryptor` and `Decryptor`. Whole blocks are converted directly from the caller's bytes into the
piece; only the beginning of an unfinished block is copied. Memory is constant.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from app.crypto.chunked.layout import PIECE_CHUNKS

Bytes = bytes | bytearray | memoryview


class BlockStream(ABC):
    """A push-style converter of blocks of `block_in` bytes into blocks of `block_out` bytes.

    Every returned view is valid only until the next step. Each `update` must be drained before the next call; after
    `finish` or an error, further calls raise RuntimeError.
    """

    def __init__(self, block_in: int, block_out: int, *, lead: bytes = b"", first_block: int = 0) -> None:
        """The first piece begins with `lead`; blocks are numbered from `first_block`."""
        self._block_in = block_in
        self._block_out = block_out
        self._next_block = first_block
        self._ready = True
        self._held = memoryview(bytearray(block_in))
        self._held_bytes = 0
        # Small at first, so that a file of 100 bytes does not allocate 1 MiB.
        self._piece = memoryview(bytearray(lead))
        self._piece_limit = len(lead) + PIECE_CHUNKS * block_out
        self._piece_bytes = len(lead)
        self._piece_blocks = 0

    @property
    def is_between_updates(self) -> bool:
        """Whether the last `update` was drained, and the stream has neither finished nor failed."""
        return self._ready

    @abstractmethod
    def _convert(self, first: int, count: int, source: memoryview, target: memoryview) -> None:
        """Convert `count` blocks, starting with number `first`; `target` has exactly the size of the result."""

    def _absorb(self, source: memoryview) -> Iterator[memoryview]:
        """Consume all of `source` and yield the pieces that became full; the caller calls `_begin` first.

        A generator runs only when it is iterated, so it cannot call `_begin` itself: an `update` whose result is
        discarded would lose its bytes unnoticed.
        """
        position = 0
        if self._held_bytes:
            position = self._hold(source[: self._block_in - self._held_bytes])
            if self._held_bytes == self._block_in:
                self._append(1, self._held)
                self._held_bytes = 0
                if self._piece_blocks == PIECE_CHUNKS:
                    yield self._take_piece()
        while blocks := (len(source) - position) // self._block_in:
            count = min(blocks, PIECE_CHUNKS - self._piece_blocks)
            end = position + count * self._block_in
            self._append(count, source[position:end])
            position = end
            if self._piece_blocks == PIECE_CHUNKS:
                yield self._take_piece()
        if position < len(source):
            self._hold(source[position:])
        self._ready = True

    def _begin(self) -> None:
        """Raise RuntimeError for a call out of order; the stream is ready again only after the step has succeeded."""
        if not self._ready:
            raise RuntimeError("the stream is finished, failed, or its last update was not drained")
        self._ready = False

    def _hold(self, source: memoryview) -> int:
        """Buffer the beginning of a block; return the number of bytes buffered."""
        end = self._held_bytes + len(source)
        self._held[self._held_bytes : end] = source
        self._held_bytes = end
        return len(source)

    def _append(self, count: int, source: memoryview, out_bytes: int | None = None) -> None:
        """Convert blocks from `source` to the end of the piece; pass `out_bytes` if the last one is not full."""
        start = self._piece_bytes
        end = start + (count * self._block_out if out_bytes is None else out_bytes)
        self._make_room(end)
        self._convert(self._next_block, count, source, self._piece[start:end])
        self._piece_bytes = end
        self._piece_blocks += count
        self._next_block += count

    def _make_room(self, needed: int) -> None:
        if needed > len(self._piece):
            larger = memoryview(bytearray(max(needed, min(2 * len(self._piece), self._piece_limit))))
            larger[: self._piece_bytes] = self._piece[: self._piece_bytes]
            self._piece = larger

    def _take_piece(self) -> memoryview:
        """Return the current piece and begin a new one in the same memory."""
        taken = self._piece[: self._piece_bytes]
        self._piece_bytes = self._piece_blocks = 0
        return taken

    def _wipe_held(self) -> None:
        self._held[:] = bytes(len(self._held))
        self._held_bytes = 0


def as_bytes_view(data: Bytes) -> memoryview:
    """Return a one-dimensional view of bytes, without copying."""
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
