"""Passes large bodies on without copying them: what uvicorn, h11 and asyncio would copy five times.

This module relies on private parts of all three: the receive buffer of `h11.Connection`, the body of uvicorn's
`RequestResponseCycle`, and `max_size` of asyncio's socket transports. So it is used only with the versions in `TESTED`;
with any other, `app.web.server` serves the same bodies the plain way, at a higher cost (docs/performance.md).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Self

import h11
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger()

TESTED: Mapping[str, tuple[str, ...]] = {"Python": ("3.11",), "uvicorn": ("0.54",), "h11": ("0.16",)}
"""The minor versions with which `tests/integration/web` has run."""

READ_BYTES, CAUTIOUS_READ_BYTES = 1 << 20, 1 << 16
"""Bytes read from a socket at a time: of a large body whose length was announced, and of anything else. asyncio's own
256 KiB makes a large body half as expensive again; and 256 KiB of one-byte chunks block the event loop for half a
second.
"""


def untested(versions: Mapping[str, str]) -> dict[str, str]:
    """Return those of `versions` whose minor version is not in `TESTED`."""
    return {name: found for name, found in versions.items() if ".".join(found.split(".")[:2]) not in TESTED[name]}


def installed() -> dict[str, str]:
    """Return the versions of this process."""
    return {"Python": platform.python_version(), "uvicorn": version("uvicorn"), "h11": version("h11")}


AVOIDS_COPIES = not untested(installed())
"""Whether this module is in use. Decided once, when the process starts."""


def report_if_aside(versions: Mapping[str, str] | None = None) -> None:
    """Log one line if large bodies are copied because a version is untested."""
    found = untested(installed() if versions is None else versions)
    if found:
        log.warning("large_bodies_are_copied", untested=found, tested=dict(TESTED))


class UncopiedBodies:
    """An ASGI application, for one connection, that receives and sends bodies without copying them."""

    def __init__(self, application: ASGIApp, protocol: H11Protocol) -> None:
        """Replace the parser of `protocol`, which has no connection yet."""
        self._application, self._protocol = application, protocol
        protocol.conn = PassingConnection()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for one request."""
        length = _announced_length(scope["headers"])
        if length > CAUTIOUS_READ_BYTES:
            receive = self._uncopied(receive, length)
        try:
            await self._application(scope, receive, send)
        finally:
            read_at_a_time(self._protocol.transport, CAUTIOUS_READ_BYTES)

    def _uncopied(self, receive: Receive, length: int) -> Receive:
        """Return a `receive` that passes each piece on as it arrived.

        Uvicorn appends pieces to a bytearray and copies them out again; but bytes appended to empty bytes stay the same
        object. Little is read beyond the body: the next request may consist of small chunks, parsed in one go.
        """
        protocol, cycle, left = self._protocol, self._protocol.cycle, length

        def read_what_is_left() -> None:
            read_at_a_time(protocol.transport, min(max(left, CAUTIOUS_READ_BYTES), READ_BYTES))

        async def receive_uncopied() -> Message:
            nonlocal left
            read_what_is_left()  # only now: a body that the application never reads is not worth the memory
            if not cycle.body:
                cycle.body = b""  # type: ignore[assignment]
            message = await receive()
            left -= len(message.get("body", b""))
            read_what_is_left()
            return message

        return receive_uncopied


def read_at_a_time(transport: Any, count: int) -> None:
    """Have an asyncio transport read at most `count` bytes from its socket at a time."""
    transport.max_size = count


class PassingConnection(h11.Connection):
    """Passes pieces of a body on unchanged, in both directions. `h11.Connection.send` joins each into new bytes."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self._receive_buffer: Any = _PassingBuffer(self._receive_buffer)

    def send(self, event: h11.Event) -> Any:
        """Return the bytes to send for an event, None for a closed connection."""
        pieces = self.send_with_data_passthrough(event)
        if pieces is None or len(pieces) != 1:
            return pieces if pieces is None else b"".join(pieces)
        return pieces[0]


class _PassingBuffer:
    """Returns received segments without copying them. Everything but a piece of a body goes through h11's own buffer,
    which copies each byte three times.
    """

    def __init__(self, joined: Any) -> None:
        self._joined = joined
        self._whole: bytes | bytearray = b""

    def __iadd__(self, received: bytes | bytearray) -> Self:
        if len(self):
            self._join()
            self._joined += received
        else:
            self._whole = received
        return self

    def __len__(self) -> int:
        return len(self._whole) + len(self._joined)

    def __bytes__(self) -> bytes:
        return bytes(self._join())

    def __getattr__(self, name: str) -> Any:
        """Forward every other attribute to h11's own buffer."""
        return getattr(self._join(), name)

    def maybe_extract_at_most(self, count: int) -> Any:
        """Return the received bytes, at most `count`, or None if there are none."""
        if not 0 < len(self._whole) <= count:
            return self._join().maybe_extract_at_most(count)
        whole, self._whole = self._whole, b""
        return whole

    def _join(self) -> Any:
        if self._whole:
            self._joined += self._whole
            self._whole = b""
        return self._joined


def _announced_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the length of a request's body in bytes; 0 if the head does not announce it, as for a chunked body."""
    stated = dict(headers)  # the parser has refused malformed lengths, and two that differ
    return 0 if b"transfer-encoding" in stated else int(stated.get(b"content-length", 0))
