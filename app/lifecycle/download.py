"""One download under a claim: it reserves its bytes, is checked every second, and is settled and logged at its end.

Every second, the claim is checked in the database and its window extended if bytes were acknowledged; then the vault is
checked for the keys. Missing keys cut the download; a vault out of reach pauses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from app.db import claim_windows, share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.domain.claim import DELIVERED_WINDOW, window_end
from app.domain.errors import Busy, ClaimEnded, ClaimExhausted, VaultOutOfReach
from app.domain.share import ShareState
from app.lifecycle import withdrawal
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.open_claim import OpenClaim
from app.runtime import fairness
from app.runtime.fetch_log import Fetched
from app.runtime.life_watch import entries_of
from app.runtime.resources import Resources
from app.runtime.stream_watch import Paused

Pieces = AsyncGenerator[bytes, None] | AsyncGenerator[memoryview, None] | AsyncGenerator[bytes | memoryview, None]
DOWNLOADS_AT_ONCE = 16
"""Concurrent downloads per claim and process, as many as download managers open. A stalled one holds its memory until
it is cut.
"""


class _State(Enum):
    NEW = auto()
    RUNNING = auto()
    SETTLED = auto()


@dataclass(slots=True, repr=False)
class Download:
    """One download of at most `count` bytes: enter it with `async with`, then iterate over its pieces.

    Entering reserves the bytes from the claim's allowance, so that concurrent downloads get no more than sequential
    ones. Each piece counts as sent when the next one is requested. Leaving releases the bytes that the client has not
    acknowledged and logs the download, as cut unless `arrived` was called. The pieces are built from `files`;
    `delivers`: see `arrived`.
    """

    resources: Resources
    open_claim: OpenClaim
    files: list[FileRow]
    address: str
    pieces: Pieces
    count: int
    delivers: bool
    _state: _State = _State.NEW
    _sent: int = 0
    _handed_over: int = 0
    _acknowledged: int = 0
    _reported: int = 0

    async def __aenter__(self) -> Self:
        """Reserve the bytes. Raises Busy while other downloads of the claim hold the bytes needed or are too many;
        ClaimExhausted once the allowance was sent; ClaimEnded or ShareWithdrawn, since the log entry of the share's end
        states the bytes fetched, which must not grow afterwards.
        """
        if self._state is not _State.NEW:
            raise RuntimeError("a download runs once")
        self._start_counting()
        try:
            await self.resources.in_thread(self._reserve_or_name_why)
        except BaseException:
            self._stop_counting()
            raise
        self._state = _State.RUNNING
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
        if self._state is not _State.RUNNING:
            raise RuntimeError("a download is iterated over inside `async with`")
        self._count_last()
        async with fairness.step():
            piece = await anext(self.pieces)
        self._handed_over = len(piece)
        return piece

    async def check(self) -> None:
        """Extend the claim's window if bytes were acknowledged, and raise ClaimEnded once the claim has ended; called
        every second. Raises Paused while the vault cannot report whether the keys still exist.
        """
        if self._state is not _State.NEW:  # before entry the claim was only just checked
            await self.resources.in_thread(self._check)

    def acknowledge(self, unacknowledged: int, *, lost: bool = False) -> int:
        """Take over how many bytes the client has not acknowledged. Return how many it has: these count against the
        allowance, and extend the window. Of a `lost` connection, the last piece may have been in a buffer that is gone.
        """
        written = self._sent + (0 if lost else self._handed_over)
        self._acknowledged = max(self._acknowledged, written - unacknowledged)
        return self._acknowledged

    async def arrived(self) -> None:
        """Settle once everything was sent, without waiting for the client's completion. For the one-line route
        (`delivers`) this shortens the window.
        """
        self._count_last()
        self._acknowledged = self._sent
        await self._settle(whole=True)

    async def _settle(self, *, whole: bool) -> None:
        if self._state is _State.RUNNING:
            self._state = _State.SETTLED
            self._stop_counting()
            await self.resources.in_thread(self._conclude, whole=whole)

    def _count_last(self) -> None:
        """Count the last piece returned as sent, since the consumer requested another or finished."""
        self._sent += self._handed_over
        self._handed_over = 0

    def _reserve_or_name_why(self) -> None:
        with withdrawal.named(self.resources, self.open_claim.share.id):
            self._reserve()

    def _reserve(self) -> None:
        with self.resources.database.writing() as transaction:
            reserved = share_rows.reserve_bytes(transaction.connection, self.open_claim.claim.id, self.count)
            share = share_rows.find(
                transaction.connection, self.open_claim.share.id
            )  # the claim's row is locked by now
            if share is None or share.state != ShareState.CLAIMED:
                raise ClaimEnded
            claim = share_rows.find_claim(transaction.connection, self.open_claim.claim.id)
            if claim is not None and not reserved and claim.bytes_served + self.count <= claim.allowance:
                raise Busy("Other downloads of these files are under way; try again in a moment.")
            if not reserved:
                raise ClaimExhausted

    def _start_counting(self) -> None:
        under_way, claim_id = self.resources.downloads, self.open_claim.claim.id
        if under_way[claim_id] >= DOWNLOADS_AT_ONCE:
            raise Busy("Too many downloads of these files are under way; try again in a moment.")
        under_way[claim_id] += 1
        self.resources.life.add(entries_of(self.open_claim.share))

    def _stop_counting(self) -> None:
        self.resources.life.remove(entries_of(self.open_claim.share))
        under_way, claim_id = self.resources.downloads, self.open_claim.claim.id
        under_way[claim_id] -= 1
        if under_way[claim_id] == 0:
            del under_way[claim_id]

    def _check(self) -> None:
        now, claim = self.resources.clock.now(), self.open_claim.claim
        moved, self._reported = self._acknowledged > self._reported, self._acknowledged
        with self.resources.database.reading() as connection:
            require_open_for_outflow(self.resources, connection)
            share = share_rows.find(connection, claim.share_id)
            current = share_rows.find_claim(connection, claim.id)
            if share and current:
                current = claim_windows.with_refused(connection, current, share.expires_at, now)
        if moved:
            with self.resources.database.writing() as transaction:
                window = window_end(now, self.resources.settings.claim_window, self.open_claim.share.expires_at)
                share_rows.move_window(transaction.connection, claim.id, window)
        if share is None or current is None or share.state != ShareState.CLAIMED:
            raise ClaimEnded
        if now >= (share.expires_at if moved else min(current.window_until, share.expires_at)):
            raise ClaimEnded
        try:
            self.resources.life.require(entries_of(self.open_claim.share))
        except VaultOutOfReach as error:
            raise Paused from error

    def _conclude(self, *, whole: bool) -> None:
        delivered = whole and self.delivers
        now, claim = self.resources.clock.now(), self.open_claim.claim
        window = window_end(now, self.resources.settings.claim_window, self.open_claim.share.expires_at)
        with self.resources.database.writing() as transaction:
            if delivered:  # lock the transfer's row before the claim's, as code that ends them does
                transfer_rows.bring_forward(transaction.connection, claim.transfer_id, now + DELIVERED_WINDOW)
            share_rows.settle_bytes(transaction.connection, claim.id, reserved=self.count, sent=self._acknowledged)
            if self._acknowledged > self._reported:
                share_rows.move_window(transaction.connection, claim.id, window)
            if delivered:
                share_rows.mark_delivered(transaction.connection, claim.id, now, DELIVERED_WINDOW)
            transaction.log(*self.resources.fetches.add(self._fetched(whole=whole), now))

    def _fetched(self, *, whole: bool) -> Fetched:
        claim = self.open_claim.claim
        return Fetched(
            transfer=claim.transfer_id,
            share=claim.share_id,
            claim=claim.id,
            file=self.files[0].number if len(self.files) == 1 else None,
            files=len(self.files),
            address=self.address,
            size=self._sent + self._handed_over,
            acknowledged=self._acknowledged,
            cut=0 if whole else 1,
        )
