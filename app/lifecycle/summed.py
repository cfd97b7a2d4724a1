"""Encrypts a file while it arrives, and computes the CRC-32 of its plaintext, with which archives are written."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from app.crypto.chunked import Encryptor


class Summed:
    """An `Encryptor` with a checksum."""

    def __init__(self, encryptor: Encryptor, crc32: int = 0) -> None:
        """`crc32`: of what was encrypted before."""
        self._encryptor, self.crc32 = encryptor, crc32

    @property
    def size(self) -> int:
        """Plaintext bytes received so far."""
        return self._encryptor.size

    @property
    def salt(self) -> bytes:
        """The salt of the encryption."""
        return self._encryptor.salt

    @property
    def is_between_updates(self) -> bool:
        """Whether `suspend` is possible."""
        return self._encryptor.is_between_updates

    def update(self, data: bytes) -> Iterable[memoryview]:
        """Encrypt received bytes and return the bytes to store."""
        self.crc32 = zlib.crc32(data, self.crc32)
        return self._encryptor.update(data)

    def finish(self) -> bytes | memoryview:
        """Return the last bytes of the blob."""
        return self._encryptor.finish()

    def suspend(self) -> tuple[memoryview, bytes]:
        """Return the rest of the blob to store now, and the plaintext of the unfinished chunk."""
        return self._encryptor.suspend()
