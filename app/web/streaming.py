"""A download as an ASGI response: pieces are sent as they are decrypted, until the claim ends.

Starlette's streaming response cannot be stopped while it waits for a stalled client; this one is watched. An aborted
download lacks its last byte, so the client notices and can resume.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.crypto.errors import CryptoError
from app.db.errors import DatabaseUnavailable
from app.domain.errors import RangeNotSatisfiable, Refusal
from app.domain.file_meta import FileMeta
from app.domain.portable_names import portable_name
from app.lifecycle.download import Download
from app.runtime.stream_watch import Progress, watched
from app.storage.errors import StorageError
from app.web.peer import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Peer, peer_of
from app.web.problems import problem, refusal_for

log = structlog.get_logger()

TURN_BYTES = 4 * 1024 * 1024
"""Sending waits only while the socket accepts no more data. After this many bytes, about what the kernel's buffers
hold, it yields to the event loop in any case, so that other tasks and the check run and a disconnect is noticed.
"""

TURNS_UNTIL_GONE = 4
"""Event loop iterations between a disconnect and `gone`: connection, server and `receive` each pass it on."""

LITTLE_BYTES = 64 * 1024
"""A download is logged as sent once at most this much is unacknowledged; some clients delay their last ACK."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to `stop` (exclusive) of `size`; `partial` if the client requested a range."""

    start: int
    stop: int
    size: int
    partial: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """Content-Length, Accept-Ranges, and for a partial range Content-Range (RFC 9110, 14.4)."""
        headers = {"Content-Length": str(self.stop - self.start), "Accept-Ranges": "bytes"}
        if self.partial:
            headers["Content-Range"] = f"bytes {self.start}-{self.stop - 1}/{self.size}"
        return headers


def requested_range(header: str | None, size: int) -> ByteRange:
    """Return the range requested by a Range header (RFC 9110, 14.1.2). Without a header, or with a malformed one or
    several ranges, return the whole.

    Raises RangeNotSatisfiable if the range lies outside the file.
    """
    whole = ByteRange(0, size, size)
    match = _RANGE.fullmatch(header or "")
    if match is None or match[0] == "bytes=-":
        return whole
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise RangeNotSatisfiable(size=size)
        return ByteRange(size - length, size, size, partial=True)
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return whole
    if start >= size:
        raise RangeNotSatisfiable(size=size)
    return ByteRange(start, stop, size, partial=True)


def range_header(headers: Mapping[str, str], etag: str) -> str | None:
    """Return the Range header, unless If-Range names another version (RFC 9110, 13.1.5)."""
    condition = headers.get("if-range")
    return headers.get("range") if condition is None or condition == etag else None


def attachment(name: str, number: int = 0) -> str:
    """Return Content-Disposition for file `number` (RFC 6266, 8187): always an attachment, never displayed, under a
    name that any system can store.
    """
    stored = portable_name(name, number)
    bare = (c for c in unicodedata.normalize("NFKD", stored) if not unicodedata.combining(c))  # é as e, for old clients
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in bare)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(stored, safe='')}"


def saved_as(meta: FileMeta, number: int) -> dict[str, str]:
    """Return the headers that name file `number` and, if any, the folders above it, as the depositor gave them."""
    folders = {"Caducee-File-Path": quote(meta.path)} if meta.path else {}
    return {"Content-Disposition": attachment(meta.name, number), **folders}


class StreamedDownload(Response):
    """Sends a download while its check passes."""

    def __init__(
        self,
        download: Download,
        *,
        headers: dict[str, str],
        status: int = 200,
        refusal_headers: dict[str, str] | None = None,
    ) -> None:
        """`refusal_headers` are added to the problem document if the download is refused before its first byte."""
        super().__init__(status_code=status, headers=headers, media_type="application/octet-stream")
        self._download = download
        self._refusal_headers = refusal_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. HEAD sends no body and uses none of the claim's allowance."""
        if scope["method"] == "HEAD":
            await self._begin(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._download)
            except (Refusal, DatabaseUnavailable, StorageError, CryptoError) as error:
                await problem(refusal_for(error), headers=self._refusal_headers)(scope, receive, send)
                return
            await self._send(scope, receive, send)

    async def _begin(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a download whose context was entered. Whenever it is aborted, the connection is reset and its unsent
        data discarded; otherwise a stalled client could still read the buffered data later.
        """
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._begin(send)
            await self._stream(send, gone, peer_of(scope))
        except Refusal as refusal:
            log.info("download_cut", code=refusal.code, share=self._download.open_claim.share.id)
            await _abort(scope)
        except BaseException:
            await _abort(scope)
            raise
        finally:
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Future[None], peer: Peer) -> None:
        """Send the pieces. Only bytes that the client has acknowledged count as progress, not buffered ones."""
        download, stall = self._download, self._download.resources.settings.stall_timeout.total_seconds()

        def position() -> int:
            """Change whenever the client acknowledges something, also after the download was settled."""
            left = peer.unacknowledged()
            return download.acknowledge(left, lost=peer.is_lost()) - left

        try:
            async with watched(download.check, idle_seconds=stall, position=position) as progress:
                await self._send_pieces(send, gone, progress)
                if not gone.done():
                    await self._finish(send, gone, peer)
        finally:
            position()

    async def _send_pieces(self, send: Send, gone: asyncio.Future[None], progress: Progress) -> None:
        before_turn = TURN_BYTES
        async for piece in self._download:
            if not progress.may_go_on.is_set():
                await _resumed(progress, gone)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            before_turn -= len(piece)
            if before_turn <= 0:
                before_turn = TURN_BYTES
                await asyncio.sleep(0)
            if gone.done():
                return

    async def _finish(self, send: Send, gone: asyncio.Future[None], peer: Peer) -> None:
        """Wait until the client has everything, and settle the download before the response ends."""
        # Sending again waits until the buffer has drained; the client may disconnect meanwhile.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        for _ in range(TURNS_UNTIL_GONE):
            await asyncio.sleep(0)
        await _taken(peer, gone, leaving=LITTLE_BYTES)
        if gone.done():
            return
        await self._download.arrived()  # before the client can confirm it itself
        await _taken(peer, gone)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _resumed(progress: Progress, gone: asyncio.Future[None]) -> None:
    """Wait until a paused stream may resume or its client has disconnected."""
    resumed = asyncio.ensure_future(progress.may_go_on.wait())
    try:
        await asyncio.wait((resumed, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        resumed.cancel()


async def _taken(peer: Peer, gone: asyncio.Future[None], *, leaving: int = 0) -> None:
    """Wait until at most `leaving` bytes are unacknowledged. The download is still watched meanwhile, so data that the
    kernel holds when the claim ends is discarded as well.
    """
    pause = FIRST_PAUSE_SECONDS
    while peer.unacknowledged() > leaving and not gone.done():
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _abort(scope: Scope) -> None:
    """Reset the connection and discard its unsent data: a stalled client must not receive it after the claim ended."""
    peer_of(scope).abort()
    await asyncio.sleep(0)  # let the server notice


async def _disconnected(receive: Receive) -> None:
    """Return once the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
