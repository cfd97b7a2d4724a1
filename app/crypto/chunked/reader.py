"""Opens any range of a stored blob: what a Range request, a resumed download and a check need."""

import sys

from app.crypto.chunked.cipher import MessageCipher, cut
from app.crypto.chunked.layout import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, plain_size
from app.crypto.errors import CannotDecrypt, Truncated


class ChunkReader:
    """One blob, known by its header and size; plaintext byte i lies in chunk `i // CHUNK_BYTES`.

    ask `sealed_range` what to read, read it, and give it to `open_chunks`.
    """

    __slots__ = ("_cipher", "_last_chunk", "_rooms", "_sealed_size", "size")

    def __init__(self, key: bytes | bytearray, context: bytes, header: bytes, sealed_size: int) -> None:
        """Take the first HEADER_BYTES of the blob and its size in bytes, and check the commitment.

        Raises CannotDecrypt for another key or context, Truncated if no blob has that size.
        """
        self._cipher = MessageCipher.from_header(key, context, header)
        self._sealed_size = sealed_size
        self.size = plain_size(sealed_size)
        self._last_chunk = self.size // CHUNK_BYTES
        self._rooms: list[_Room] = []

    def sealed_range(self, first_chunk: int, chunks: int) -> tuple[int, int]:
        """Return offset and length, in the blob, of up to `chunks` chunks from number `first_chunk`.

        Clipped at the end of the blob. Raises ValueError for a first chunk beyond it, or fewer than one chunk.
        """
        if not 0 <= first_chunk <= self._last_chunk or chunks < 1:
            raise ValueError("no such chunks in this blob")
        offset = HEADER_BYTES + first_chunk * SEALED_CHUNK_BYTES
        return offset, min(chunks * SEALED_CHUNK_BYTES, self._sealed_size - offset)

    def open_chunks(self, first_chunk: int, sealed: bytes | bytearray | memoryview) -> memoryview:
        """Return the plaintext of the consecutive whole chunks in `sealed`, in memory of its own.

        Raises CannotDecrypt for anything altered or moved, Truncated if `sealed` ends inside a chunk.
        """
        count = -(-len(sealed) // SEALED_CHUNK_BYTES)
        if count == 0:
            raise Truncated
        _, expected = self.sealed_range(first_chunk, count)
        if len(sealed) < expected:
            raise Truncated
        if len(sealed) > expected:
            raise CannotDecrypt
        size, room = expected - count * TAG_BYTES, self._room(count)
        self._cipher.open(first_chunk, memoryview(sealed), room.parts(count, size))
        return memoryview(room.memory)[:size]

    def _room(self, chunks: int) -> "_Room":
        """Memory that nobody looks into: new, or what held an earlier piece that is let go of by now."""
        for room in self._rooms:
            if room.free and len(room.memory) >= chunks * CHUNK_BYTES:
                return room
        room = _Room(chunks)
        self._rooms = [*self._rooms[-1:], room]
        return room


class _Room:
    """Memory for the plaintext of a piece, and its parts. New memory for each piece would have to be cleared, and cut
    into parts, each time: a fifteenth of what a download costs (docs/performance.md).
    """

    __slots__ = ("_own", "_parts", "memory")

    def __init__(self, chunks: int) -> None:
        self.memory = bytearray(chunks * CHUNK_BYTES)
        self._parts = cut(memoryview(self.memory), CHUNK_BYTES, chunks)
        self._own = sys.getrefcount(self.memory)

    @property
    def free(self) -> bool:
        """Whether nobody looks into it: every view refers to the memory. Where an interpreter counts otherwise, it is
        never free.
        """
        return sys.getrefcount(self.memory) == self._own

    def parts(self, count: int, size: int) -> list[memoryview]:
        """The room for `count` chunks, of `size` bytes together; the last one may be shorter, or empty."""
        return [*self._parts[: count - 1], self._parts[count - 1][: size - (count - 1) * CHUNK_BYTES]]
