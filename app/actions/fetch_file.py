"""Step 6 of a file's life: send a claimed file, whole or in part, decrypted or as stored, as often as resuming needs.

A download reserves its bytes from the claim's allowance before the first piece, and the expiry is checked before every
decrypted or stored piece. Every second, the claim is checked in the database and its window extended if bytes were
sent; then the vault is checked for the keys. Missing keys cut the download; a vault out of reach pauses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from app.crypto import chunked
from app.crypto.errors import CannotDecrypt
from app.db import claim_windows, file_rows, share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.domain.audit_events import Entry, Event
from app.domain.claim import DELIVERED_WINDOW, window_end
from app.domain.errors import (
    BlobsOutOfReach,
    Busy,
    ClaimedByProof,
    ClaimEnded,
    ClaimExhausted,
    ClaimNotFound,
    FileNotFound,
    VaultOutOfReach,
)
from app.domain.file_meta import FileMeta
from app.domain.share import ShareState
from app.lifecycle import claim_record, key_ring
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.secret_lookup import find_by_token
from app.runtime.life_watch import entries_of
from app.runtime.resources import Resources
from app.runtime.stream_watch import Paused
from app.storage.blob_store import BlobReader
from app.storage.errors import StorageError

PIECE_CHUNKS = 96
"""Chunks read, decrypted and sent at a time: 1.5 MiB. Smaller pieces cost more CPU (docs/performance.md); a stalled
client keeps up to two pieces in memory.
"""
PIECE_BYTES = PIECE_CHUNKS * chunked.CHUNK_BYTES
Pieces = AsyncGenerator[bytes, None] | AsyncGenerator[memoryview, None] | AsyncGenerator[bytes | memoryview, None]
DOWNLOADS_AT_ONCE = 16
"""Concurrent downloads per claim and process, as many as download managers open. A stalled one holds its memory until
it is cut.
"""


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """An open claim with its share and files."""

    claim: ClaimRow
    share: ShareRow
    files: list[FileRow]


def require_standing(resources: Resources, claim_id: str, token: bytes, *, check_keys: bool) -> Standing:
    """Return the claim if the token matches its row and its record in the vault, and its window is open.

    `check_keys` also requires its keys in the vault; a caller that opens them next does not need it.

    Raises ClaimNotFound, ClaimEnded, VaultOutOfReach.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        require_open_for_outflow(resources, connection)
        claim, share = find_by_token(connection, claim_id, token)
        files = file_rows.of_transfers(connection, [claim.transfer_id])
        claim = claim_windows.with_refused(connection, claim, share.expires_at, now)
    if share.state != ShareState.CLAIMED or now >= min(claim.window_until, share.expires_at):
        raise ClaimEnded
    try:
        claim_record.require_recorded(resources.vault, share, token)
    except ClaimNotFound:
        resources.life.require_now(entries_of(share))  # if the keys are gone too, the claim has ended
        raise
    if check_keys:
        resources.life.require_now(entries_of(share))
    return Standing(claim, share, files)


async def open_files(
    resources: Resources, *, claim_id: str, token: bytes, numbers: list[int] | None, decrypted: bool, address: str
) -> ClaimFiles:
    """Open files of a claim (None: all of them). Raises ClaimNotFound, ClaimEnded, FileNotFound, ClaimedByProof,
    VaultOutOfReach.
    """
    standing = await resources.in_thread(require_standing, resources, claim_id, token, check_keys=not decrypted)
    wanted = [file for file in standing.files if numbers is None or file.number in numbers]
    if not wanted:
        raise FileNotFound
    transfer_key = None
    if decrypted:
        if standing.claim.by_proof:
            raise ClaimedByProof
        now = resources.clock.now()
        transfer_key = await resources.in_thread(
            key_ring.open_for_claim, resources.vault, standing.share, standing.claim, token, now
        )
    return ClaimFiles(resources, standing, wanted, transfer_key, address)


class _DownloadState(Enum):
    NEW = auto()
    RUNNING = auto()
    SETTLED = auto()


@dataclass(frozen=True, slots=True, repr=False)
class ClaimFiles:
    """Files of an open claim, for download as plaintext or ciphertext."""

    resources: Resources
    standing: Standing
    files: list[FileRow]
    transfer_key: bytes | None
    address: str

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
        return Download(self.resources, self, pieces, count, delivers)

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
        if self.resources.clock.now() >= self.standing.share.expires_at:
            raise ClaimEnded

    def _key(self) -> bytes:
        if self.transfer_key is None:
            raise ClaimedByProof
        return self.transfer_key

    async def _reader(self, file: FileRow) -> BlobReader:
        try:
            return await self.resources.blobs.open(file.blob_id)
        except StorageError as error:
            raise BlobsOutOfReach from error


@dataclass(slots=True, repr=False)
class Download:
    """One download of at most `count` bytes: enter it with `async with`, then iterate over its pieces.

    Entering reserves the bytes from the claim's allowance, so that concurrent downloads get no more than sequential
    ones. Each piece counts as sent when the next one is requested. Leaving releases unsent bytes and logs the download,
    as cut unless `arrived` was called.
    """

    resources: Resources
    source: ClaimFiles
    pieces: Pieces
    count: int
    delivers: bool
    _state: _DownloadState = _DownloadState.NEW
    _moved: bool = False
    _sent: int = 0
    _handed_over: int = 0

    @property
    def standing(self) -> Standing:
        """The claim of the files, as it was when they were opened."""
        return self.source.standing

    @property
    def files(self) -> list[FileRow]:
        """The files that the pieces are built from."""
        return self.source.files

    async def __aenter__(self) -> Self:
        """Reserve the bytes. Raises Busy while other downloads of the claim hold the bytes needed or are too many;
        ClaimExhausted once the allowance was sent; ClaimEnded, since the log entry of the share's end states the bytes
        fetched, which must not grow afterwards.
        """
        if self._state is not _DownloadState.NEW:
            raise RuntimeError("a download runs once")
        self._start_counting()
        try:
            await self.resources.in_thread(self._reserve)
        except BaseException:
            self._stop_counting()
            raise
        self._state = _DownloadState.RUNNING
        return self

    async def __aexit__(self, *_raised: object) -> None:
        """Close the pieces and settle the download."""
        try:
            await self.pieces.aclose()
        finally:
            await asyncio.shield(self._settle(whole=False))

    def __aiter__(self) -> Self:
        """Return the download itself; its pieces can be iterated over once."""
        return self

    async def __anext__(self) -> bytes | memoryview:
        """Return the next piece without keeping a reference, so that its memory can be reused."""
        if self._state is not _DownloadState.RUNNING:
            raise RuntimeError("a download is iterated over inside `async with`")
        self._count_last()
        piece = await anext(self.pieces)
        self._handed_over = len(piece)
        return piece

    async def check(self) -> None:
        """Extend the claim's window if bytes were sent, and raise ClaimEnded once the claim has ended; called every
        second. Raises Paused while the vault cannot report whether the keys still exist.
        """
        if self._state is not _DownloadState.NEW:  # before entry the claim was only just checked
            await self.resources.in_thread(self._report)

    async def arrived(self) -> None:
        """Settle once everything was sent, without waiting for the client's completion. For the one-line route
        (`delivers`) this shortens the window.
        """
        self._count_last()
        await self._settle(whole=True)

    async def _settle(self, *, whole: bool) -> None:
        if self._state is _DownloadState.RUNNING:
            self._state = _DownloadState.SETTLED
            self._stop_counting()
            await self.resources.in_thread(self._conclude, whole=whole)

    def _count_last(self) -> None:
        """Count the last piece returned as sent, since the consumer requested another or finished."""
        self._moved = self._moved or self._handed_over > 0
        self._sent += self._handed_over
        self._handed_over = 0

    def _reserve(self) -> None:
        with self.resources.database.writing() as transaction:
            reserved = share_rows.reserve_bytes(transaction.connection, self.standing.claim.id, self.count)
            share = share_rows.find(transaction.connection, self.standing.share.id)  # the claim's row is locked by now
            if share is None or share.state != ShareState.CLAIMED:
                raise ClaimEnded
            claim = share_rows.find_claim(transaction.connection, self.standing.claim.id)
            if claim is not None and not reserved and claim.bytes_served + self.count <= claim.allowance:
                raise Busy("Other downloads of these files are under way; try again in a moment.")
            if not reserved:
                raise ClaimExhausted

    def _start_counting(self) -> None:
        under_way, claim_id = self.resources.downloads, self.standing.claim.id
        if under_way[claim_id] >= DOWNLOADS_AT_ONCE:
            raise Busy("Too many downloads of these files are under way; try again in a moment.")
        under_way[claim_id] += 1
        self.resources.life.add(entries_of(self.standing.share))

    def _stop_counting(self) -> None:
        self.resources.life.remove(entries_of(self.standing.share))
        under_way, claim_id = self.resources.downloads, self.standing.claim.id
        under_way[claim_id] -= 1
        if under_way[claim_id] == 0:
            del under_way[claim_id]

    def _report(self) -> None:
        now, claim = self.resources.clock.now(), self.standing.claim
        moved, self._moved = self._moved, False
        with self.resources.database.reading() as connection:
            require_open_for_outflow(self.resources, connection)
            share = share_rows.find(connection, claim.share_id)
            current = share_rows.find_claim(connection, claim.id)
            if share and current:
                current = claim_windows.with_refused(connection, current, share.expires_at, now)
        if moved:
            with self.resources.database.writing() as transaction:
                window = window_end(now, self.resources.settings.claim_window, self.standing.share.expires_at)
                share_rows.move_window(transaction.connection, claim.id, window)
        if share is None or current is None or share.state != ShareState.CLAIMED:
            raise ClaimEnded
        if now >= (share.expires_at if moved else min(current.window_until, share.expires_at)):
            raise ClaimEnded
        try:
            self.resources.life.require(entries_of(self.standing.share))
        except VaultOutOfReach as error:
            raise Paused from error

    def _conclude(self, *, whole: bool) -> None:
        delivered = whole and self.delivers
        now, claim = self.resources.clock.now(), self.standing.claim
        window = window_end(now, self.resources.settings.claim_window, self.standing.share.expires_at)
        with self.resources.database.writing() as transaction:
            if delivered:  # lock the transfer's row before the claim's, as code that ends them does
                transfer_rows.bring_forward(transaction.connection, claim.transfer_id, now + DELIVERED_WINDOW)
            share_rows.settle_bytes(transaction.connection, claim.id, reserved=self.count, sent=self._sent)
            if self._moved:
                share_rows.move_window(transaction.connection, claim.id, window)
            if delivered:
                share_rows.mark_delivered(transaction.connection, claim.id, now, DELIVERED_WINDOW)
            transaction.log(
                Entry(
                    event=Event.FILE_FETCHED,
                    at=now,
                    actor="recipient",
                    transfer=claim.transfer_id,
                    share=claim.share_id,
                    claim=claim.id,
                    file=self.files[0].number if len(self.files) == 1 else None,
                    files=len(self.files),
                    size=self._sent,
                    address=self.source.address,
                    outcome="sent" if whole else "cut",
                )
            )
        self._moved = False


async def _read(reader: BlobReader, offset: int, length: int) -> bytes | memoryview:
    try:
        return await reader.read(offset, length)
    except StorageError as error:
        raise BlobsOutOfReach from error
