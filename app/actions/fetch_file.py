"""Step 6 of a file's life: send a claimed file, whole or in part, decrypted or as stored, as often as resuming needs.

A download is watched while it runs: before every piece the expiry and the claim's allowance are looked at, and each
second the database is asked whether the claim still stands, told how much went out, and the window moved on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field

from app import key_ring
from app.crypto import chunked
from app.crypto.errors import CannotDecrypt
from app.crypto.token import digest, same
from app.db import share_rows, transfer_rows
from app.db.share_rows import ClaimRow, ShareRow
from app.db.transfer_rows import FileRow
from app.domain.audit_events import Entry, Event
from app.domain.claim import DELIVERED_WINDOW, window_end
from app.domain.errors import BlobsOutOfReach, ClaimedByProof, ClaimEnded, ClaimExhausted, ClaimNotFound, FileNotFound
from app.domain.file_meta import FileMeta
from app.domain.share import ShareState
from app.resources import Resources
from app.storage.blob_store import BlobReader
from app.storage.errors import StorageError

PIECE_BYTES = 1 << 20
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """A claim that still stands, with its share and files."""

    claim: ClaimRow
    share: ShareRow
    files: list[FileRow]


def require_standing(resources: Resources, claim_id: str, token: bytes) -> Standing:
    """The claim, if the token is its own and its window is open. Raises ClaimNotFound, ClaimEnded."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        claim = share_rows.find_claim(connection, claim_id)
        share = share_rows.find(connection, claim.share_id) if claim else None
        files = transfer_rows.files_of(connection, [claim.transfer_id]) if claim else []
    right = same(digest(token), claim.token_digest if claim else _NO_DIGEST)
    if claim is None or share is None or not right:
        raise ClaimNotFound
    if share.state != ShareState.CLAIMED or now >= min(claim.window_until, share.expires_at):
        raise ClaimEnded
    return Standing(claim, share, files)


async def open_download(
    resources: Resources, *, claim_id: str, token: bytes, numbers: list[int] | None, decrypted: bool, address: str
) -> Download:
    """Open files of a claim (None: all of them). Raises ClaimNotFound, ClaimEnded, ClaimExhausted, FileNotFound,
    ClaimedByProof, VaultOutOfReach, BlobsOutOfReach.
    """
    standing = await resources.in_thread(require_standing, resources, claim_id, token)
    wanted = [file for file in standing.files if numbers is None or file.number in numbers]
    if not wanted:
        raise FileNotFound
    if standing.claim.bytes_served >= standing.claim.allowance > 0:
        raise ClaimExhausted
    transfer_key = None
    if decrypted:
        if standing.claim.by_proof:
            raise ClaimedByProof
        now = resources.clock.now()
        transfer_key = await resources.in_thread(
            key_ring.open_for_claim, resources.vault, standing.share, standing.claim, token, now
        )
    return Download(resources, standing, wanted, transfer_key, address)


@dataclass(slots=True, repr=False)
class Download:
    """Files of a claim on their way out: `sent` is called after each piece, `check` each second, `close` at the end."""

    resources: Resources
    standing: Standing
    files: list[FileRow]
    transfer_key: bytes | None
    address: str
    _unreported: int = 0
    _served: int = field(init=False)
    _sent: int = 0

    def __post_init__(self) -> None:
        """Count on from what the claim has been sent before."""
        self._served = self.standing.claim.bytes_served

    def meta(self, file: FileRow) -> FileMeta:
        """A file's name and type. Only for decrypted downloads."""
        context = chunked.meta_context(file.transfer_id, file.number)
        return FileMeta.from_json(chunked.open_sealed(self._key(), context, file.sealed_meta or b""))

    async def plaintext(self, file: FileRow, start: int, stop: int) -> AsyncIterator[memoryview]:
        """Bytes `start` to `stop` (exclusive) of a file, in pieces of about 1 MiB, decrypted one at a time."""
        with closing(await self._reader(file)) as reader:
            chunks = await self._whole(reader, file)
            position = start
            while position < stop:
                first = position // chunked.CHUNK_BYTES
                offset, length = chunks.sealed_range(first, chunked.PIECE_CHUNKS)
                self.require_more()
                plain = chunks.open_chunks(first, await _read(reader, offset, length))
                base = first * chunked.CHUNK_BYTES
                piece = plain[position - base : stop - base]
                yield piece
                position += len(piece)

    async def _whole(self, reader: BlobReader, file: FileRow) -> chunked.ChunkReader:
        """The chunks of a blob that was not cut: its last one proves it, whatever the sizes in the rows say.

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

    async def ciphertext(self, file: FileRow, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Bytes `start` to `stop` (exclusive) of a blob as it is stored."""
        with closing(await self._reader(file)) as reader:
            position = start
            while position < stop:
                self.require_more()
                piece = await _read(reader, position, min(PIECE_BYTES, stop - position))
                yield piece
                position += len(piece)

    def require_more(self) -> None:
        """Before every piece: refuse past the expiry and past the allowance."""
        if self.resources.clock.now() >= self.standing.share.expires_at:
            raise ClaimEnded
        if self._served + self._unreported >= self.standing.claim.allowance:
            raise ClaimExhausted

    def sent(self, count: int) -> None:
        """Count bytes that went out."""
        self._unreported += count
        self._sent += count

    async def check(self) -> None:
        """Each second: refuse once the claim has ended, whoever ended it; report what went out."""
        await self.resources.in_thread(self._report)

    async def close(self, *, whole: bool, delivers: bool) -> None:
        """Report the rest and write the log entry. `whole`: everything asked for went out; `delivers`: by the one-line
        route, which shortens the window then.
        """
        await self.resources.in_thread(self._conclude, whole=whole, delivered=whole and delivers)

    def _key(self) -> bytes:
        if self.transfer_key is None:
            raise ClaimedByProof
        return self.transfer_key

    async def _reader(self, file: FileRow) -> BlobReader:
        try:
            return await self.resources.blobs.open(file.blob_id)
        except StorageError as error:
            raise BlobsOutOfReach from error

    def _report(self) -> None:
        now, claim = self.resources.clock.now(), self.standing.claim
        count, self._unreported = self._unreported, 0
        with self.resources.database.reading() as connection:
            share = share_rows.find(connection, claim.share_id)
            current = share_rows.find_claim(connection, claim.id)
        if count:
            with self.resources.database.writing() as transaction:
                window = window_end(now, self.resources.settings.claim_window, self.standing.share.expires_at)
                self._served = share_rows.count_served(transaction.connection, claim.id, count, window)
        if share is None or current is None or share.state != ShareState.CLAIMED:
            raise ClaimEnded
        if now >= (share.expires_at if count else min(current.window_until, share.expires_at)):
            raise ClaimEnded

    def _conclude(self, *, whole: bool, delivered: bool) -> None:
        now, claim = self.resources.clock.now(), self.standing.claim
        window = window_end(now, self.resources.settings.claim_window, self.standing.share.expires_at)
        with self.resources.database.writing() as transaction:
            if delivered:  # the transfer's row before the claim's, as everybody who ends one
                transfer_rows.bring_forward(transaction.connection, claim.transfer_id, now + DELIVERED_WINDOW)
            if self._unreported:
                share_rows.count_served(transaction.connection, claim.id, self._unreported, window)
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
                    address=self.address,
                    outcome="sent" if whole else "cut",
                )
            )
        self._unreported = 0


async def _read(reader: BlobReader, offset: int, length: int) -> bytes | memoryview:
    try:
        return await reader.read(offset, length)
    except StorageError as error:
        raise BlobsOutOfReach from error
