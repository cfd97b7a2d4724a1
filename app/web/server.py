"""Uvicorn's HTTP/1.1 protocol with what it lacks: silent clients are let go, a stream can be cut for good, what is no
HTTP is refused like everything else, and a large body comes in without being copied.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import Any, Self

import h11
from h11._receivebuffer import ReceiveBuffer
from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from app.domain.errors import Busy, InvalidRequest
from app.web.edge import HEADERS
from app.web.problems import problem

HEAD_SECONDS = 30
"""How long a client may take over a request's head, the first or a later one. Where nothing has come after an answer,
keep-alive's own timeout counts; in a body or an answer, `app.runtime.stream_watch`."""


READ_BYTES, CAUTIOUS_READ_BYTES = 1 << 20, 1 << 16
"""How much is taken from a socket at a time, if there is so much: of a large body whose length was announced, and of
anything else. With asyncio's own 256 KiB such a body costs half as much again, in turns of the loop; and what comes in
chunks of a byte would hold the loop up for half a second.
"""

ABORT = "caducee.abort"
"""In the scope: a function that drops the connection with whatever still waits to be sent, in the kernel, too."""

UNSENT = "caducee.unsent"
"""In the scope: a function that tells how many bytes wait in the kernel for the client to take them."""


_BUSY = problem(Busy("Too many connections; try again."), headers={**HEADERS, "Connection": "close"})


class _WholeBuffer(ReceiveBuffer):
    """Gives out whole what came in whole: a piece of a body. The library's own copies every byte that comes in three
    times (docs/performance.md).
    """

    def __init__(self) -> None:
        self._whole: bytes | bytearray = b""
        super().__init__()

    def __iadd__(self, byteslike: bytes | bytearray) -> Self:
        """Take in what was received."""
        if not self._data:
            self._whole = byteslike
        else:
            self._data += byteslike
        return self

    def maybe_extract_at_most(self, count: int) -> Any:
        """Give out what there is, `count` bytes of it at most; None for nothing."""
        if not 0 < len(self._whole) <= count:
            return super().maybe_extract_at_most(count)
        whole, self._whole = self._whole, b""
        return whole

    @property
    def _data(self) -> bytearray:
        """Everything in one, as the library's methods search it for lines."""
        if self._whole:
            self._joined += self._whole
            self._whole = b""
        return self._joined

    @_data.setter
    def _data(self, value: bytearray) -> None:
        self._joined = value


class _PassingOn(h11.Connection):
    """Hands the pieces of a body on as they are. The library's `send` joins each into new bytes: a copy of every byte
    that goes out.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self._receive_buffer = _WholeBuffer()

    def send(self, event: h11.Event) -> Any:
        """The bytes to send for an event, None for a closed connection."""
        pieces = self.send_with_data_passthrough(event)
        if pieces is None or len(pieces) != 1:
            return pieces if pieces is None else b"".join(pieces)
        return pieces[0]


class PromptProtocol(H11Protocol):
    """Closes a connection on which no request begins in time (slowloris); offers `ABORT` and `UNSENT` to the
    application, and hands it large bodies as they come.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Put the application behind a layer that adds what this class offers, and refuses when there are too many
        connections: uvicorn's own refusal would be no problem document.
        """
        super().__init__(*args, **kwargs)
        self.conn = _PassingOn()
        application, limit, self.limit_concurrency = self.app, self.limit_concurrency, None

        async def surrounded(scope: Any, receive: Any, send: Any) -> None:
            scope[ABORT] = self._drop
            scope[UNSENT] = self._unsent
            full = limit is not None and len(self.connections) > limit
            length = _announced_length(scope["headers"])
            receive = self._whole(receive, length) if length > CAUTIOUS_READ_BYTES else receive
            try:
                await (_BUSY if full else application)(scope, receive, send)
            finally:
                self._read_at_a_time(CAUTIOUS_READ_BYTES)

        self.app = surrounded

    def _whole(self, receive: Receive, length: int) -> Receive:
        """Receive as it is what comes while the application waits. Uvicorn keeps it in a bytearray, a copy in and one
        out; but bytes that are added to none stay the same. Hardly more is read than there is of the body: what follows
        may be a request in small chunks, all of which would be parsed at once.
        """
        cycle: Any = self.cycle
        left = length

        def read_what_is_left() -> None:
            self._read_at_a_time(min(max(left, CAUTIOUS_READ_BYTES), READ_BYTES))

        async def receive_whole() -> Message:
            nonlocal left
            read_what_is_left()  # not before: a body that nobody asks for is not worth the memory
            if not cycle.body:
                cycle.body = b""
            message = await receive()
            left -= len(message.get("body", b""))
            read_what_is_left()
            return message

        return receive_whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to count."""
        super().connection_made(transport)
        self._read_at_a_time(CAUTIOUS_READ_BYTES)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            # asyncio does so only for sockets it made itself; those that workers share would wait 40 ms for each body.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._time_head()

    def _read_at_a_time(self, count: int) -> None:
        transport: Any = self.transport
        transport.max_size = count  # of asyncio's transports for sockets

    def data_received(self, data: bytes) -> None:
        """Count anew for a head that has come in part; also for what is sent on and on where no route reads it."""
        super().data_received(data)
        self._time_head()

    def _drop(self) -> None:
        """Reset the connection: closed in order, the kernel would go on to send what it has taken."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # it is closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _unsent(self) -> int:
        """How many bytes the kernel has taken that the peer has not acknowledged; 0 where it does not tell."""
        connection, count = self.transport.get_extra_info("socket"), bytearray(4)
        with suppress(OSError, ValueError):  # closed, or not Linux
            fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
        return int.from_bytes(count, sys.byteorder)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what a library says of the request is not passed on
        """Refuse what is no HTTP; in the middle of an answer, only hang up."""
        answer = problem(InvalidRequest("This is not a request in HTTP/1.1."))
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

    def _time_head(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle and not cycle.response_complete:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _announced_length(headers: list[tuple[bytes, bytes]]) -> int:
    """How long a request's body is, in bytes; 0 where the head does not tell, as of one in chunks."""
    told = dict(headers)  # the parser has refused lengths that are none, and two that differ
    return 0 if b"transfer-encoding" in told else int(told.get(b"content-length", 0))
