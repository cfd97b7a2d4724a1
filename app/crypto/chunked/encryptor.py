"""Encrypts a file while it arrives: accepts bytes and returns pieces of the blob."""

import os
from collections.abc import Iterator

from app.crypto.chunked.cipher import MessageCipher
from app.crypto.chunked.layout import CHUNK_BYTES, SALT_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES
from app.crypto.chunked.stream import BlockStream, Bytes, as_bytes_view


class Encryptor(BlockStream):
    """Encrypts a plaintext of any length as one blob.

    for body in arriving:
        for piece in encryptor.update(body):
            store(piece)                      # valid only until the next step
    store(encryptor.finish())
    """

    def __init__(self, key: bytes | bytearray, context: bytes, *, salt: bytes | None = None) -> None:
        """Begin a message under a 32-byte key. Never reuse a salt (24 bytes, random by default)."""
        self.salt = os.urandom(SALT_BYTES) if salt is None else salt
        self._cipher = MessageCipher(key, context, self.salt)
        self._size = 0
        super().__init__(CHUNK_BYTES, SEALED_CHUNK_BYTES, lead=self._cipher.header)

    @classmethod
    def resume(cls, key: bytes | bytearray, context: bytes, *, salt: bytes, chunks: int) -> "Encryptor":
        """Continue after `suspend`: the header and `chunks` full chunks are stored; pass the tail to `update` again.

        Only valid if every byte returned before is stored: encrypting a chunk number twice under one salt reveals both
        plaintexts. If any byte was lost, start again with a fresh salt.
        """
        encryptor = cls(key, context, salt=salt)
        encryptor._size = chunks * CHUNK_BYTES
        encryptor._next_block = chunks
        encryptor._take_piece()  # the header is stored already
        return encryptor

    @property
    def size(self) -> int:
        """Plaintext bytes accepted so far."""
        return self._size

    def update(self, data: Bytes) -> Iterator[memoryview]:
        """Accept `data` and yield the pieces that became full, usually none. Must be drained."""
        self._begin()
        view = as_bytes_view(data)
        self._size += len(view)
        return self._absorb(view)

    def finish(self) -> memoryview:
        """Return the rest of the blob; it always ends with a short last chunk."""
        self._begin()
        self._append(1, self._held[: self._held_bytes], self._held_bytes + TAG_BYTES)
        self._wipe_held()
        return self._take_piece()

    def suspend(self) -> tuple[memoryview, bytes]:
        """Stop for now: return the rest of the blob to store, and the plaintext of the unfinished chunk.

        Encrypt that tail (less than 16 KiB) under `wrapping.tail_key`; see `resume`.
        """
        self._begin()
        tail = bytes(self._held[: self._held_bytes])
        self._wipe_held()
        return self._take_piece(), tail

    def _convert(self, first: int, count: int, source: memoryview, target: memoryview) -> None:
        self._cipher.seal(first, count, source, target)
