"""Extends uvicorn's HTTP/1.1 protocol: silent clients are disconnected, a stream can be aborted together with its
data in the kernel's send buffer, and input that is not HTTP is refused with a problem document. `app.web.large_bodies`
passes large bodies on.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from app.domain.errors import Busy, InvalidRequest
from app.web import large_bodies
from app.web.edge import HEADERS
from app.web.peer import SocketPeer, put_peer
from app.web.problems import problem
from app.web.unread_bodies import UnreadBody, states_two_lengths
from app.web.wire_text import headers_in, refusal_of_head

HEAD_SECONDS = 30
"""Time limit for receiving the head of a request. Between requests, the keep-alive timeout applies; during a body or a
response, that of `app.runtime.stream_watch`."""


LINGER_SECONDS = 1.0
"""How long a connection without a request stays open when the server stops: its client may have sent one already."""

_BUSY = problem(Busy("Too many connections; try again."), headers={**HEADERS, "Connection": "close"})
_TWO_LENGTHS = problem(
    InvalidRequest("Content-Length and Transfer-Encoding exclude each other."),
    headers={**HEADERS, "Connection": "close"},
)


class PromptProtocol(H11Protocol):
    """Closes a connection on which no request begins in time (slowloris); offers a `Peer` to the application."""

    avoids_copies = large_bodies.AVOIDS_COPIES
    _head_timer: asyncio.TimerHandle | None = None
    _unread: UnreadBody | None = None
    _stopping = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Wrap the application: add `ABORT` and `UNSENT` to the scope, and refuse requests when there are too many
        connections, because uvicorn's own refusal is not a problem document.
        """
        super().__init__(*args, **kwargs)
        self._head = bytearray()  # what arrived of a request before it was served, to say why it cannot be
        application, limit, self.limit_concurrency = self.app, self.limit_concurrency, None
        if self.avoids_copies:
            application = large_bodies.UncopiedBodies(application, self)

        async def surrounded(scope: Any, receive: Any, send: Any) -> None:
            put_peer(scope, self._peer)
            if limit is not None and len(self.connections) > limit:
                await _BUSY(scope, receive, send)
                return
            self._unread = UnreadBody(self.cycle)
            await self._unread.answer(_TWO_LENGTHS if states_two_lengths(scope) else application, scope, receive, send)

        self.app = surrounded

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the head timer, and set the socket's options."""
        super().connection_made(transport)
        self._peer = SocketPeer(transport)
        if self.avoids_copies:
            large_bodies.read_at_a_time(transport, large_bodies.CAUTIOUS_READ_BYTES)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            # asyncio does this only for sockets it created; on those that workers share, each body would wait 40 ms.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._time_head()

    def data_received(self, data: bytes) -> None:
        """Start the head timer for a partial head. Discard what comes after a response that did not wait for it."""
        if self._unread is not None and self._unread.is_discarded:
            self._unread.discard(len(data))
            return
        if not self._is_serving():
            self._head += data
        super().data_received(data)
        if self._is_serving():
            self._head.clear()
            if self._stopping:
                super().shutdown()
        self._time_head()

    def shutdown(self) -> None:
        """Close the connection after the request under way, or after one that arrives within LINGER_SECONDS."""
        self._stopping = True
        if self._is_serving():
            super().shutdown()
        else:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._is_serving() and not self.transport.is_closing():
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting, and remember what the client has not acknowledged."""
        self._stop_head_timer()
        self._peer.lose()
        if self._unread is not None:
            self._unread.ended()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the library's message may quote the request
        """Refuse input that is not HTTP; during a response, only close the connection."""
        answer = problem(refusal_of_head(bytes(self._head))).preferred(headers_in(bytes(self._head)))
        headers = {**HEADERS, **answer.headers, "Connection": "close"}
        events = (
            h11.Response(status_code=400, reason=b"Bad Request", headers=list(headers.items())),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        )
        with suppress(h11.LocalProtocolError):
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _is_serving(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _time_head(self) -> None:
        if self._is_serving():
            self._stop_head_timer()
        elif self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
