"""Closes a connection whose response began before the whole body of its request had arrived.

Such a connection can be reused only after the rest of the body was read, which a client can make endless. So the
response carries `Connection: close`, and what still arrives is discarded unparsed, within limits of time and bytes.
Closing at once would reset the connection, and the client might lose the response (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

LINGER_SECONDS = 2.0
LINGER_BYTES = 16 * 1024 * 1024
"""Limits after which the connection is closed in any case; a client on a network has the response long before."""

CLOSE = (b"connection", b"close")


class UnreadBody:
    """The part of a request's body that arrives after its response began."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        """`cycle`: uvicorn's state of the request."""
        self._cycle = cycle
        self._left = LINGER_BYTES
        self._enough = asyncio.Event()
        self.is_discarded = False

    def discard(self, count: int) -> None:
        """Count bytes that arrived and are not parsed."""
        self._left -= count
        if self._left <= 0:
            self.ended()

    def ended(self) -> None:
        """Stop waiting: the client has closed the connection, or has sent too much."""
        self._enough.set()

    async def answer(self, application: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for the request. If its response begins too early, linger before uvicorn closes the
        connection, which it does at the response's last message.
        """
        too_early = held_back = False

        async def send_held(message: Message) -> None:
            nonlocal too_early, held_back
            if message["type"] == "http.response.start" and self._cycle.more_body:
                too_early = True
                message = {**message, "headers": [*message.get("headers", []), CLOSE]}
            elif too_early and not message.get("more_body", False):
                held_back = True
                message = {**message, "more_body": True}
            await send(message)

        await application(scope, receive, send_held)
        if held_back:
            await self._linger()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        self.is_discarded = True
        self._cycle.flow.resume_reading()
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._enough.wait()
        except TimeoutError:
            pass


def states_two_lengths(scope: Scope) -> bool:
    """Return whether a request has both Content-Length and Transfer-Encoding. A proxy in front may have used the other
    one, and parsed the rest of the body as a request (RFC 9112, 6.1).
    """
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}
