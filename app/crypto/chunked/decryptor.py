"""Decrypts a blob that arrives as a stream, in the recipient's client."""

from collections.abc import Iterator

from app.crypto.chunked.cipher import MessageCipher, check_key, cut
from app.crypto.chunked.layout import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES
from app.crypto.chunked.stream import BlockStream, Bytes, as_bytes_view
from app.crypto.errors import Truncated


class Decryptor(BlockStream):
    """Decrypts a blob; every byte returned belongs to an authenticated chunk.

    The message is known to be complete only once `finish` has returned; until then it may be truncated.
    """

    def __init__(self, key: bytes | bytearray, context: bytes, *, chunks: int = 0) -> None:
        """Expect a blob encrypted under this 32-byte key for this context: its header, and the chunks from number
        `chunks` on.
        """
        check_key(key)
        self._key = bytearray(key)
        self._context = context
        self._header = bytearray()
        self._cipher: MessageCipher | None = None
        super().__init__(SEALED_CHUNK_BYTES, CHUNK_BYTES, first_block=chunks)

    def update(self, data: Bytes) -> Iterator[memoryview]:
        """Accept ciphertext and yield the pieces of plaintext that became full. Must be drained.

        Raises CannotDecrypt, from the iteration too.
        """
        self._begin()
        view = as_bytes_view(data)
        if self._cipher is None:
            view = self._read_header(view)
        return self._absorb(view)

    def finish(self) -> memoryview:
        """Return the rest of the plaintext. Raises Truncated if the last chunk is missing, CannotDecrypt if altered."""
        self._begin()
        if self._cipher is None or self._held_bytes < TAG_BYTES:
            raise Truncated
        self._append(1, self._held[: self._held_bytes], self._held_bytes - TAG_BYTES)
        return self._take_piece()

    def _read_header(self, view: memoryview) -> memoryview:
        """Collect the header, check its commitment once it is complete, and return the bytes after it."""
        missing = HEADER_BYTES - len(self._header)
        self._header += view[:missing]
        if len(self._header) == HEADER_BYTES:
            self._cipher = MessageCipher.from_header(self._key, self._context, bytes(self._header))
            self._key[:] = bytes(len(self._key))
        return view[missing:]

    def _convert(self, first: int, count: int, source: memoryview, target: memoryview) -> None:
        if self._cipher is None:
            raise Truncated
        self._cipher.open(first, source, cut(target, CHUNK_BYTES, count))
