"""A file that is sealed while it is sent, and again from any place after a failure, without using a nonce for another
plaintext.

What was encrypted before is encrypted again only if the file still holds the same bytes: the SHA-256 of each block of
1 MiB is written down before the block is encrypted, and compared when the block is read again.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from app.client.errors import FileChanged
from app.crypto import chunked
from app.crypto.chunked import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, Encryptor

BLOCK_BYTES = 1 << 20
_DIGEST_BYTES = 32
CHANGED = "the file changed while it was sent"


class SealedSource:
    """One file, sealed under a transfer key. `size` and `changed_ns` are those of the file when the send began.

    A context manager: the file is opened once, so that it stays the same file.
    """

    def __init__(self, path: Path, *, size: int, changed_ns: int, digests: Path) -> None:
        """Store the arguments; `digests` is the file for the digests of the blocks."""
        self._path, self.size, self._changed_ns, self._digests_path = path, size, changed_ns, digests
        self.sealed_size = chunked.sealed_size(size)
        self._crc, self._crc_blocks = 0, 0

    def __enter__(self) -> Self:
        """Open it. Raises FileChanged, OSError."""
        self._file: BinaryIO = self._path.open("rb", buffering=0)
        self._digests = self._digests_path.open("a+b")
        self._digests.seek(0)
        self._known = bytearray(self._digests.read())
        del self._known[len(self._known) // _DIGEST_BYTES * _DIGEST_BYTES :]
        self._digests.truncate(len(self._known))
        self._require_unchanged()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close both files."""
        self._file.close()
        self._digests.close()

    @property
    def crc32(self) -> int:
        """The CRC-32 of the file, once `sealed` has yielded all of it. Raises FileChanged if it changed meanwhile."""
        self._require_unchanged()
        return self._crc

    def sealed(self, key: bytes, context: bytes, *, salt: bytes, start: int) -> Iterator[bytes]:
        """Yield the ciphertext from byte `start` on. Raises FileChanged."""
        first = max(0, start - HEADER_BYTES) // SEALED_CHUNK_BYTES
        resumed = start >= HEADER_BYTES
        if resumed:
            encryptor = Encryptor.resume(key, context, salt=salt, chunks=first)
            skip = start - HEADER_BYTES - first * SEALED_CHUNK_BYTES
        else:
            encryptor, skip = Encryptor(key, context, salt=salt), start
        position = first * CHUNK_BYTES if resumed else 0
        for piece in self._pieces(encryptor, position):
            if skip < len(piece):
                yield bytes(piece[skip:])
            skip = max(0, skip - len(piece))

    def _pieces(self, encryptor: Encryptor, position: int) -> Iterator[memoryview]:
        self._read_before(position // BLOCK_BYTES)
        for block in range(position // BLOCK_BYTES, -(-self.size // BLOCK_BYTES)):
            plain = memoryview(self._block(block))
            yield from encryptor.update(plain[max(0, position - block * BLOCK_BYTES) :])
        yield encryptor.finish()

    def _read_before(self, block: int) -> None:
        """Check the blocks before one that is sent, as far as this run has not read them."""
        for number in range(self._crc_blocks, block):
            self._block(number)

    def _block(self, number: int) -> bytes:
        """Return a block. Its digest is compared, or written down before anybody gets to encrypt it."""
        length = min(BLOCK_BYTES, self.size - number * BLOCK_BYTES)
        self._file.seek(number * BLOCK_BYTES)
        plain = self._file.read(length)
        while len(plain) < length:
            more = self._file.read(length - len(plain))
            if not more:
                raise FileChanged(CHANGED)
            plain += more
        digest = hashlib.sha256(plain).digest()
        at = number * _DIGEST_BYTES
        if known := self._known[at : at + _DIGEST_BYTES]:
            if known != digest:
                raise FileChanged(CHANGED)
        else:
            self._digests.write(digest)
            self._digests.flush()
            self._known += digest
        if number == self._crc_blocks:
            self._crc, self._crc_blocks = zlib.crc32(plain, self._crc), number + 1
        return plain

    def _require_unchanged(self) -> None:
        found = os.fstat(self._file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self._changed_ns):
            raise FileChanged(CHANGED)
