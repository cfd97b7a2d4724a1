"""The client's end of a connection, as the kernel sees it: connected or gone, and what it has acknowledged.

The server puts a `Peer` into the scope of each request. Its methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import Any, Protocol

from starlette.types import Scope

_SCOPE_KEY = "caducee.peer"
_ESTABLISHED = 1  # tcpi_state, the first byte of struct tcp_info (linux/tcp.h, net/tcp_states.h)


class Peer(Protocol):
    """What a response may ask about its client, and do to it."""

    def is_gone(self) -> bool:
        """Return whether the client has closed or reset the connection, also only for its own direction."""

    def is_lost(self) -> bool:
        """Return whether the server has dropped the connection: nothing written from then on is sent."""

    def unacknowledged(self) -> int:
        """Return how many written bytes the client's kernel has not acknowledged: still, or when the connection was
        lost.
        """

    def abort(self) -> None:
        """Reset the connection, and drop what the kernel still holds."""


class SocketPeer:
    """The peer of an asyncio transport."""

    def __init__(self, transport: Any) -> None:
        """`transport` is connected."""
        self._transport = transport
        self._lost = False
        self._left = 0

    def is_gone(self) -> bool:
        """Ask the kernel, which sees the end before the event loop reads it."""
        connection = self._transport.get_extra_info("socket")
        if self._lost or connection is None or self._transport.is_closing():
            return True
        if connection.family not in {socket.AF_INET, socket.AF_INET6} or not hasattr(socket, "TCP_INFO"):
            return False
        try:
            state: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:  # closed by the event loop in between
            return True
        return state != _ESTABLISHED

    def is_lost(self) -> bool:
        """Return whether `lose` was called."""
        return self._lost

    def unacknowledged(self) -> int:
        """Count the transport's buffer and the kernel's queue."""
        return self._left if self._lost else self._transport.get_write_buffer_size() + self._queued()

    def lose(self) -> None:
        """Record how much is unacknowledged. Called when the connection is lost, just before its socket is closed."""
        if not self._lost:
            self._left = self._queued()
            self._lost = True

    def abort(self) -> None:
        """Reset. After an orderly close the kernel would go on to send what it holds."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _queued(self) -> int:
        """Return the bytes in the kernel's send queue, which a reset leaves as they were; 0 except on Linux."""
        connection, count = self._transport.get_extra_info("socket"), bytearray(4)
        with suppress(OSError, ValueError):
            fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
        return int.from_bytes(count, sys.byteorder)


class UnknownPeer:
    """The peer of a request that came through another server: never gone, everything acknowledged."""

    def is_gone(self) -> bool:
        """Return False."""
        return False

    def is_lost(self) -> bool:
        """Return False."""
        return False

    def unacknowledged(self) -> int:
        """Return 0."""
        return 0

    def abort(self) -> None:
        """Do nothing."""


def put_peer(scope: Scope, peer: Peer) -> None:
    """Add the peer to the scope of a request."""
    scope[_SCOPE_KEY] = peer


def peer_of(scope: Scope) -> Peer:
    """Return the peer of a request."""
    peer: Peer = scope.get(_SCOPE_KEY) or UnknownPeer()
    return peer


FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.1
"""Pauses between two readings of the kernel's queue: doubled from the first to the longest."""


async def acknowledged(peer: Peer, *, within: float) -> bool:
    """Return whether the client's kernel acknowledges what was written within so many seconds. Call it right after a
    response was sent.
    """
    if peer.is_lost():  # the server discards what is written to a lost connection
        return False
    pause, deadline = FIRST_PAUSE_SECONDS, asyncio.get_running_loop().time() + within
    while peer.unacknowledged() > 0:
        if peer.is_lost() or asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    return True
