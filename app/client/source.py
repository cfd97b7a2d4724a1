"""A file that is sealed while it is sent, and again from any place after a failure, without using a nonce for another
plaintext.

The journal of a file holds the salt, and the SHA-256 of each block of 1 MiB, durable before the block is encrypted.
What was encrypted before is encrypted again only if the file still holds the same bytes; without its journal, the file
gets another salt.
"""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from app.client.durable import open_regular
from app.client.errors import FileChanged, NotSendable
from app.crypto import chunked
from app.crypto.chunked import CHUNK_BYTES, HEADER_BYTES, SALT_BYTES, SEALED_CHUNK_BYTES, Encryptor

BLOCK_BYTES = 1 << 20
BLOCKS_AHEAD = 16
"""Blocks whose digests are made durable together, and which are in memory meanwhile."""

_DIGEST_BYTES = 32
_CHANGED = "the file changed while it was sent"
_OF_THIS_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class SealedSource:
    """One file. `size` (bytes) and `changed_ns` (time of change, nanoseconds) are what they were when the send began.

    A context manager: the file is opened once, so that it stays the same file.
    """

    def __init__(self, path: Path, *, size: int, changed_ns: int, journal: Path, only_link: bool = False) -> None:
        """Store the arguments; nothing is opened. With `only_link`, a file with another hard link counts as changed."""
        self._path, self.size, self._changed_ns, self._journal_path = path, size, changed_ns, journal
        self._only_link = only_link
        self.sealed_size = chunked.sealed_size(size)
        self._blocks = -(-size // BLOCK_BYTES)
        self._ahead: dict[int, bytes] = {}
        self._crc, self._crc_blocks = 0, 0

    def __enter__(self) -> Self:
        """Open the file and its journal. Raises FileChanged, also if the file vanished; NotSendable if it cannot be
        read; OSError.
        """
        with ExitStack() as opened:
            with _reading():
                self._file = opened.enter_context(os.fdopen(open_regular(self._path), "rb", buffering=0))
            self._require_unchanged()
            self._journal = opened.enter_context(self._journal_path.open("a+b"))
            self._load()
            self._opened = opened.pop_all()
        return self

    def _load(self) -> None:
        """Read the journal; of an unfinished entry, only the salt or the digests before it count."""
        self._journal.seek(0)
        kept = self._journal.read()
        self._is_new = len(kept) < SALT_BYTES
        if self._is_new:
            self._journal.truncate(0)
            kept = os.urandom(SALT_BYTES)
            self._write(kept)
        self._salt, self._digests = kept[:SALT_BYTES], bytearray(kept[SALT_BYTES:])
        del self._digests[len(self._digests) // _DIGEST_BYTES * _DIGEST_BYTES :]
        self._journal.truncate(SALT_BYTES + len(self._digests))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close both files."""
        self._opened.close()

    @property
    def crc32(self) -> int:
        """The CRC-32 of the file, once `sealed` has yielded all of it. Raises FileChanged if it changed meanwhile."""
        self._require_unchanged()
        return self._crc

    def sealed(self, key: bytes, context: bytes, *, start: int) -> Iterator[bytes]:
        """Yield the ciphertext from byte `start` on. Raises FileChanged, also if the journal does not reach so far."""
        if not start:
            self._is_new = False  # what is sent from here on begins with this salt
        chunks = max(0, start - HEADER_BYTES) // SEALED_CHUNK_BYTES
        position = chunks * CHUNK_BYTES
        reached = min(position // BLOCK_BYTES + 1, self._blocks)
        if start and (self._is_new or reached > len(self._digests) // _DIGEST_BYTES):
            raise FileChanged(_CHANGED)
        if start < HEADER_BYTES:
            encryptor, skip = Encryptor(key, context, salt=self._salt), start
        else:
            encryptor = Encryptor.resume(key, context, salt=self._salt, chunks=chunks)
            skip = start - HEADER_BYTES - chunks * SEALED_CHUNK_BYTES
        for piece in self._pieces(encryptor, position):
            if skip < len(piece):
                yield bytes(piece[skip:])
            skip = max(0, skip - len(piece))

    def _pieces(self, encryptor: Encryptor, position: int) -> Iterator[memoryview]:
        for number in range(self._crc_blocks, position // BLOCK_BYTES):
            self._block(number)  # compared only: this run has not read it yet
        for number in range(position // BLOCK_BYTES, self._blocks):
            plain = memoryview(self._block(number))
            yield from encryptor.update(plain[max(0, position - number * BLOCK_BYTES) :])
        yield encryptor.finish()

    def _block(self, number: int) -> bytes:
        """Return a block that is the one that was encrypted before, or whose digest is durable."""
        if number >= len(self._digests) // _DIGEST_BYTES:
            self._read_ahead(number)
        plain = self._ahead.pop(number, None)
        if plain is None:
            plain = self._read(number)
            if hashlib.sha256(plain).digest() != self._digests[number * _DIGEST_BYTES : (number + 1) * _DIGEST_BYTES]:
                raise FileChanged(_CHANGED)
        if number == self._crc_blocks:
            self._crc, self._crc_blocks = zlib.crc32(plain, self._crc), number + 1
        return plain

    def _read_ahead(self, first: int) -> None:
        self._ahead = {number: self._read(number) for number in range(first, min(first + BLOCKS_AHEAD, self._blocks))}
        digests = b"".join(hashlib.sha256(plain).digest() for plain in self._ahead.values())
        self._write(digests)
        self._digests += digests

    def _read(self, number: int) -> bytes:
        length = min(BLOCK_BYTES, self.size - number * BLOCK_BYTES)
        with _reading():
            self._file.seek(number * BLOCK_BYTES)
            plain = self._file.read(length)
            while len(plain) < length:
                more = self._file.read(length - len(plain))
                if not more:
                    raise FileChanged(_CHANGED)
                plain += more
        return plain

    def _write(self, data: bytes) -> None:
        self._journal.write(data)
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _require_unchanged(self) -> None:
        found = os.fstat(self._file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self._changed_ns) or (
            self._only_link and found.st_nlink != 1
        ):
            raise FileChanged(_CHANGED)


@contextmanager
def _reading() -> Iterator[None]:
    """Tell what became of the file from what became of this machine."""
    try:
        yield
    except FileNotFoundError:
        raise FileChanged("the file vanished while it was sent") from None
    except OSError as error:
        if error.errno in _OF_THIS_PROCESS:
            raise
        raise NotSendable(f"the file cannot be read: {error.strerror or error}", "unreadable") from None
