"""Requests that no library would send: bytes on a socket, and what comes back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class RawAnswer:
    """What came back on a socket: empty when the server just closed it."""

    received: bytes

    @property
    def status(self) -> int | None:
        """The status of the first answer."""
        return int(self.received.split(b" ", 2)[1]) if self.received.startswith(b"HTTP/1.1 ") else None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the first answer, names in lower case."""
        lines = self.received.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        pairs = (line.decode("latin-1").partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def json(self) -> Any:
        """The body of the first answer as JSON."""
        return json.loads(self.received.partition(b"\r\n\r\n")[2][: int(self.headers["content-length"])])


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection to the server, with patience."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        yield connection


def receive_all(connection: socket.socket) -> RawAnswer:
    """Everything until the server closes; a server that keeps the connection open longer fails the test."""
    received = b""
    while True:
        try:
            data = connection.recv(65_536)
        except ConnectionResetError:
            return RawAnswer(received)
        if not data:
            return RawAnswer(received)
        received += data


def exchange(port: int, request: bytes) -> RawAnswer:
    """Send, and read until the server closes. The request should ask for that (`Connection: close`)."""
    with connected(port) as connection:
        connection.sendall(request)
        return receive_all(connection)


def first_answer(port: int, request: bytes) -> RawAnswer:
    """Send, and read one answer with a body; for a request whose own body is never sent, which the server waits for."""
    with connected(port) as connection:
        connection.sendall(request)
        received = b""
        while data := connection.recv(65_536):
            received += data
            answer = RawAnswer(received)
            start = received.find(b"\r\n\r\n") + 4
            if start > 3 and len(received) >= start + int(answer.headers.get("content-length", 0)):
                break
        return RawAnswer(received)


def head(method: str, target: str | bytes, port: int, *headers: str) -> bytes:
    """The head of a request with the right Host; closes the connection afterwards."""
    path = target if isinstance(target, bytes) else target.encode()
    lines = [f"Host: 127.0.0.1:{port}", "Connection: close", *headers]
    return method.encode() + b" " + path + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n"
