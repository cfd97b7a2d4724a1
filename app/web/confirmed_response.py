"""A response whose arrival matters: if the client's kernel never acknowledges it, what it announced is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.web.peer import acknowledged, peer_of

ACKNOWLEDGED_WITHIN_SECONDS = 30.0
"""A client that acknowledges nothing for so long is gone. TCP itself would retransmit for a quarter of an hour."""

log = structlog.get_logger()


class ConfirmedResponse(Response):
    """Sends another response, and calls `undo` unless the client's kernel has acknowledged all of it.

    Behind a proxy that kernel is the proxy's.
    """

    def __init__(self, response: Response, undo: Callable[[], Awaitable[None]]) -> None:
        """`response` has a Content-Length: the client has all of it before the response ends here."""
        super().__init__(status_code=response.status_code)
        self.body, self.raw_headers = response.body, response.raw_headers
        self._undo = undo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send. The response ends, and with it perhaps the connection, only once it was acknowledged."""
        peer, confirmed = peer_of(scope), False
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            confirmed = await acknowledged(peer, within=ACKNOWLEDGED_WITHIN_SECONDS)
        finally:
            if not confirmed:
                peer.abort()  # else the kernel could still deliver it
                log.info("answer_not_acknowledged")
                await asyncio.shield(self._undo())
        await send({"type": "http.response.body", "body": b"", "more_body": False})
