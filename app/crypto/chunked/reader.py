"""Decrypts any range of a stored blob, for Range requests and resumed downloads."""

from app.crypto.chunked.cipher import MessageCipher, cut
from app.crypto.chunked.layout import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, plain_size
from app.crypto.errors import CannotDecrypt, Truncated


class ChunkReader:
    """One blob, given its header and size; plaintext byte i is in chunk `i // CHUNK_BYTES`.

    Read the bytes at `sealed_range` and pass them to `open_chunks`.
    """

    __slots__ = ("_cipher", "_last_chunk", "_sealed_size", "size")

    def __init__(self, key: bytes | bytearray, context: bytes, header: bytes, sealed_size: int) -> None:
        """Take the first HEADER_BYTES of the blob and its size in bytes, and check the commitment.

        Raises CannotDecrypt for another key or context, Truncated if no blob has that size.
        """
        self._cipher = MessageCipher.from_header(key, context, header)
        self._sealed_size = sealed_size
        self.size = plain_size(sealed_size)
        self._last_chunk = self.size // CHUNK_BYTES

    def sealed_range(self, first_chunk: int, chunks: int) -> tuple[int, int]:
        """Return offset and length, in the blob, of up to `chunks` chunks from number `first_chunk`.

        Clipped at the end of the blob. Raises ValueError for a first chunk beyond it, or fewer than one chunk.
        """
        if not 0 <= first_chunk <= self._last_chunk or chunks < 1:
            raise ValueError("no such chunks in this blob")
        offset = HEADER_BYTES + first_chunk * SEALED_CHUNK_BYTES
        return offset, min(chunks * SEALED_CHUNK_BYTES, self._sealed_size - offset)

    def open_chunks(self, first_chunk: int, sealed: bytes | bytearray | memoryview) -> memoryview:
        """Return the plaintext of the consecutive whole chunks in `sealed`, in memory that is never used again.

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
        # New memory each time: callers may keep any part of it for as long as they like.
        plain = memoryview(bytearray(expected - count * TAG_BYTES))
        self._cipher.open(first_chunk, memoryview(sealed), cut(plain, CHUNK_BYTES, count))
        return plain
