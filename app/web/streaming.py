"""A download as an ASGI response: pieces go out as they are decrypted, and stop the moment the claim ends.

Starlette's own streaming response does not come back while a client stalls; this one is watched. A stream that is cut
ends without its last byte, so the client sees that it was cut and can resume.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.actions.fetch_file import Download
from app.crypto.errors import CryptoError
from app.db.errors import DatabaseUnavailable
from app.domain.errors import RangeNotSatisfiable, Refusal
from app.runtime.stream_watch import Progress, watched
from app.storage.errors import StorageError
from app.web.problems import problem, refusal_for
from app.web.server import ABORT, UNSENT

log = structlog.get_logger()

TURN_BYTES = 4 * 1024 * 1024
"""Sending waits only where the network does not take all. After so many bytes the event loop gets a turn in any case:
it lets others run, the check among them, and tells that the client is gone. The kernel's buffers hold as much.
"""

TURNS_UNTIL_TOLD = 4
"""Of the event loop, from a client's end to `gone`: connection, server and `receive` pass it on."""

LITTLE_BYTES = 64 * 1024
"""Once no more of a download waits in the kernel, the log tells it as sent: the very last is taken late, if at all, by
clients that wait a little before they acknowledge it.
"""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.1
"""Between two looks at what the kernel still holds at the end."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to `stop` (exclusive) of `size`; `partial` when the client asked for a part."""

    start: int
    stop: int
    size: int
    partial: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """Content-Length, and for a part Content-Range (RFC 9110, 14.4)."""
        headers = {"Content-Length": str(self.stop - self.start), "Accept-Ranges": "bytes"}
        if self.partial:
            headers["Content-Range"] = f"bytes {self.start}-{self.stop - 1}/{self.size}"
        return headers


def requested_range(header: str | None, size: int) -> ByteRange:
    """The part that a Range header asks for (RFC 9110, 14.1.2); everything for none, a malformed one, or several.

    Raises RangeNotSatisfiable when it lies outside.
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


def attachment(name: str) -> str:
    """Content-Disposition for a file name (RFC 6266): never displayed, whatever it is."""
    bare = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))  # é as e, for old clients
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in bare)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


class StreamedDownload(Response):
    """Sends the pieces of a download under its watch."""

    def __init__(
        self,
        download: Download,
        *,
        headers: dict[str, str],
        status: int = 200,
        refusal_headers: dict[str, str] | None = None,
    ) -> None:
        """`refusal_headers`: of the problem document, if the download is refused before its first byte."""
        super().__init__(status_code=status, headers=headers, media_type="application/octet-stream")
        self._download = download
        self._refusal_headers = refusal_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send. HEAD sends nothing, so it takes nothing out of the allowance."""
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
        """Send a download that was entered. However it is cut, its connection is dropped with what it still holds: in
        the buffer that would wait for a client that stalls.
        """
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._begin(send)
            await self._stream(send, gone, scope.get(UNSENT, int))
        except Refusal as refusal:
            log.info("download_cut", code=refusal.code, share=self._download.standing.share.id)
            await _abort(scope)
        except BaseException:
            await _abort(scope)
            raise
        finally:
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Future[None], unsent: Callable[[], int]) -> None:
        idle = self._download.resources.settings.idle_timeout.total_seconds()
        before_turn = TURN_BYTES
        async with watched(self._download.check, idle_seconds=idle) as progress:
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
                progress.moved()
            # Only sending again waits for what the last piece left in the buffer; a client may go away until then.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            for _ in range(TURNS_UNTIL_TOLD):
                await asyncio.sleep(0)
            await _taken(unsent, gone, progress, leaving=LITTLE_BYTES)
            if gone.done():
                return
            await self._download.arrived()  # before the client says the same
            await _taken(unsent, gone, progress)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _resumed(progress: Progress, gone: asyncio.Future[None]) -> None:
    """Wait until a paused stream may go on, or its client is gone."""
    resumed = asyncio.ensure_future(progress.may_go_on.wait())
    try:
        await asyncio.wait((resumed, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        resumed.cancel()


async def _taken(
    unsent: Callable[[], int], gone: asyncio.Future[None], progress: Progress, *, leaving: int = 0
) -> None:
    """Wait until the client has taken what the kernel holds, `leaving` so many bytes of it, under the watch: what lies
    there longer than the claim stands is cut off, too.
    """
    left, pause = unsent(), FIRST_PAUSE_SECONDS
    while left > leaving and not gone.done():
        await asyncio.sleep(pause)
        before, left, pause = left, unsent(), min(2 * pause, LONGEST_PAUSE_SECONDS)
        if left < before:
            progress.moved()


async def _abort(scope: Scope) -> None:
    """Drop the connection with what it still holds: a stalled client must not find it there after the end."""
    abort = scope.get(ABORT)
    if abort is not None:
        abort()
        await asyncio.sleep(0)  # let the server see it


async def _disconnected(receive: Receive) -> None:
    """Come back once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
