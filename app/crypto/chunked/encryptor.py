"""Encrypts a file while it arrives: bytes are pushed in, pieces of the blob come out."""

import os
from collections.abc import Iterator

from app.crypto.chunked.cipher import MessageCipher
from app.crypto.chunked.layout import CHUNK_BYTES, SALT_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES
from app.crypto.chunked.stream import BlockStream, Bytes, as_bytes_view


class Encryptor(BlockStream):
    """Turns a plaintext of any length into one blob.

    for body in arriving:
        for piece in encryptor.update(body):
            store(piece)                      # valid until the next step only
    store(encryptor.finish())
    """

    def __init__(self, key: bytes | bytearray, context: bytes, *, salt: bytes | None = None) -> None:
        """Begin a message under a 32-byte key. A salt (24 bytes, random if not given) never serves twice."""
        self.salt = os.urandom(SALT_BYTES) if salt is None else salt
        self._cipher = MessageCipher(key, context, self.salt)
        self._size = 0
        super().__init__(CHUNK_BYTES, SEALED_CHUNK_BYTES, lead=self._cipher.header)

    @classmethod
    def resume(cls, key: bytes | bytearray, context: bytes, *, salt: bytes, chunks: int) -> "Encryptor":
        """Go on after `suspend`: the header and `chunks` whole chunks are stored, the tail is to be pushed in again.

        Only if every byte given out before the break is stored: a chunk number sealed twice under one salt gives both
        plaintexts away. If any was lost, begin again with a fresh salt.
        """
        encryptor = cls(key, context, salt=salt)
        encryptor._size = chunks * CHUNK_BYTES
        encryptor._next_block = chunks
        encryptor._take_piece()  # the header is stored already
        return encryptor

    @property
    def size(self) -> int:
        """Plaintext bytes taken in so far."""
        return self._size

    def update(self, data: Bytes) -> Iterator[memoryview]:
        """Take in `data` and yield the pieces that became full, usually none. Must be drained."""
        self._begin()
        view = as_bytes_view(data)
        self._size += len(view)
        return self._absorb(view)

    def finish(self) -> memoryview:
        """Return the rest of the blob, with its short last chunk (which is always there)."""
        self._begin()
        self._append(1, self._held[: self._held_bytes], self._held_bytes + TAG_BYTES)
        self._wipe_held()
        return self._take_piece()

    def suspend(self) -> tuple[memoryview, bytes]:
        """Break off: return what of the blob is left to store, and the plaintext of the unfinished chunk.

        The tail (less than 16 KiB) is for `wrapping.tail_key`; see `resume`.
        """
        self._begin()
        tail = bytes(self._held[: self._held_bytes])
        self._wipe_held()
        return self._take_piece(), tail

    def _convert(self, first: int, count: int, source: memoryview, target: memoryview) -> None:
        self._cipher.seal(first, count, source, target)
