"""Step 6 of a file's life: send a claimed file, whole or in part, decrypted or as stored, as often as resuming needs.

This module finds the claim and reads its files; the expiry is checked before every decrypted or stored piece. The
download (`app/lifecycle/download.py`) reserves its bytes from the claim's allowance before the first piece, and checks
the claim and its keys every second.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass

import structlog

from app.crypto import chunked
from app.crypto.errors import CannotDecrypt
from app.db.file_rows import FileRow
from app.domain.errors import BlobsOutOfReach, ClaimedByProof, ClaimEnded, FileNotFound
from app.domain.file_meta import FileMeta
from app.lifecycle import key_ring, withdrawal
from app.lifecycle.download import Download, Pieces
from app.lifecycle.open_claim import OpenClaim, require_open_claim
from app.runtime.resources import Resources
from app.storage.blob_store import BlobReader
from app.storage.errors import StorageError

log = structlog.get_logger()

PIECE_CHUNKS = 96
"""Chunks read, decrypted and sent at a time: 1.5 MiB. Smaller pieces cost more CPU (docs/performance.md); a stalled
client keeps up to two pieces in memory.
"""
PIECE_BYTES = PIECE_CHUNKS * chunked.CHUNK_BYTES


async def open_files(
    resources: Resources, *, claim_id: str, token: bytes, numbers: list[int] | None, decrypted: bool, address: str
) -> ClaimFiles:
    """Open files of a claim (None: all of them). Raises ClaimNotFound, ClaimEnded, FileNotFound, ClaimedByProof,
    VaultOutOfReach.
    """
    open_claim = await resources.in_thread(require_open_claim, resources, claim_id, token, check_keys=not decrypted)
    wanted = [file for file in open_claim.files if numbers is None or file.number in numbers]
    if not wanted:
        raise FileNotFound
    transfer_key = None
    if decrypted:
        if open_claim.claim.by_proof:
            raise ClaimedByProof
        transfer_key = await resources.in_thread(_open_key, resources, open_claim, token)
    return ClaimFiles(resources, open_claim, wanted, transfer_key, address)


def _open_key(resources: Resources, open_claim: OpenClaim, token: bytes) -> bytes:
    with withdrawal.named(resources, open_claim.share.id):
        now = resources.clock.now()
        return key_ring.open_for_claim(resources.vault, open_claim.share, open_claim.claim, token, now)


@dataclass(frozen=True, slots=True, repr=False)
class ClaimFiles:
    """Files of an open claim, for download as plaintext or ciphertext."""

    resources: Resources
    open_claim: OpenClaim
    files: list[FileRow]
    transfer_key: bytes | None
    address: str

    @property
    def left(self) -> int:
        """Bytes that the claim may still fetch; those that running downloads hold are not among them."""
        claim = self.open_claim.claim
        return max(0, claim.allowance - claim.bytes_served - claim.bytes_reserved)

    def meta(self, file: FileRow) -> FileMeta:
        """Decrypt a file's name and type. Only for decrypted downloads."""
        context = chunked.meta_context(file.transfer_id, file.number)
        return FileMeta.from_json(chunked.open_sealed(self._key(), context, file.sealed_meta or b""))

    def plaintext(self, file: FileRow, start: int, stop: int, *, delivers: bool = False) -> Download:
        """Download bytes `start` to `stop` (exclusive) of a file, decrypted. Only for decrypted downloads."""
        return self.download(self.read_plaintext(file, start, stop), stop - start, delivers=delivers)

    def ciphertext(self, file: FileRow, start: int, stop: int) -> Download:
        """Download bytes `start` to `stop` (exclusive) of a blob as it is stored."""
        return self.download(self.read_ciphertext(file, start, stop), stop - start)

    def download(self, pieces: Pieces, count: int, *, delivers: bool = False) -> Download:
        """Download `count` bytes from `pieces`, which are built from the files. `delivers`: see `Download.arrived`."""
        return Download(self.resources, self.open_claim, self.files, self.address, pieces, count, delivers)

    async def read_plaintext(self, file: FileRow, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """Read bytes `start` to `stop` (exclusive) of a file, in pieces of 1.5 MiB, decrypted one at a time.

        The enclosing download counts them, whether it sends this file or an archive.
        """
        with closing(await self._reader(file)) as reader:
            chunks = await self._whole(reader, file)
            position = start
            while position < stop:
                first = position // chunked.CHUNK_BYTES
                offset, length = chunks.sealed_range(first, PIECE_CHUNKS)
                base = first * chunked.CHUNK_BYTES
                begin, end = position - base, min(stop - base, PIECE_BYTES)
                self._require_time()
                # Not bound to a name, so that the next piece can reuse its memory once it was sent.
                yield chunks.open_chunks(first, await _read(reader, offset, length))[begin:end]
                position = base + end

    async def _whole(self, reader: BlobReader, file: FileRow) -> chunked.ChunkReader:
        """Return the chunk reader of a blob, after its last chunk proved that it was not truncated. The rows' sizes are
        not trusted.

        Raises CannotDecrypt.
        """
        header = await _read(reader, 0, chunked.HEADER_BYTES)
        context = chunked.file_context(file.transfer_id, file.number)
        chunks = chunked.ChunkReader(self._key(), context, bytes(header), file.sealed_size)
        last = chunks.size // chunked.CHUNK_BYTES
        chunks.open_chunks(last, await _read(reader, *chunks.sealed_range(last, 1)))
        if chunks.size != file.size or reader.size != file.sealed_size:
            raise CannotDecrypt
        return chunks

    async def read_ciphertext(self, file: FileRow, start: int, stop: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Read bytes `start` to `stop` (exclusive) of a blob as it is stored."""
        with closing(await self._reader(file)) as reader:
            position = start
            while position < stop:
                self._require_time()
                piece = await _read(reader, position, min(PIECE_BYTES, stop - position))
                yield piece
                position += len(piece)

    def _require_time(self) -> None:
        """Refuse after the expiry; called before every piece."""
        if self.resources.clock.now() >= self.open_claim.share.expires_at:
            raise ClaimEnded

    def _key(self) -> bytes:
        if self.transfer_key is None:
            raise ClaimedByProof
        return self.transfer_key

    async def _reader(self, file: FileRow) -> BlobReader:
        try:
            return await self.resources.blobs.open(file.blob_id)
        except StorageError as error:
            raise _out_of_reach(error) from error


async def _read(reader: BlobReader, offset: int, length: int) -> bytes | memoryview:
    try:
        return await reader.read(offset, length)
    except StorageError as error:
        raise _out_of_reach(error) from error


def _out_of_reach(error: StorageError) -> BlobsOutOfReach:
    log.warning("blobs_out_of_reach", error=str(error))
    return BlobsOutOfReach()
