"""Encrypts and decrypts small data in one call, such as the name and type of a file."""

import os

from app.crypto.chunked.cipher import MessageCipher
from app.crypto.chunked.layout import CHUNK_BYTES, HEADER_BYTES, SALT_BYTES, sealed_size
from app.crypto.chunked.reader import ChunkReader


def seal(key: bytes | bytearray, context: bytes, data: bytes | bytearray) -> bytes:
    """Return `data` encrypted under a fresh salt, in the format of a blob."""
    cipher = MessageCipher(key, context, os.urandom(SALT_BYTES))
    sealed = bytearray(sealed_size(len(data)))
    sealed[:HEADER_BYTES] = cipher.header
    cipher.seal(0, len(data) // CHUNK_BYTES + 1, memoryview(data), memoryview(sealed)[HEADER_BYTES:])
    return bytes(sealed)


def open_sealed(key: bytes | bytearray, context: bytes, sealed: bytes) -> bytes:
    """Decrypt the output of `seal`. Raises CannotDecrypt, or Truncated for a length that no blob has."""
    reader = ChunkReader(key, context, sealed[:HEADER_BYTES], len(sealed))
    return bytes(reader.open_chunks(0, memoryview(sealed)[HEADER_BYTES:]))
