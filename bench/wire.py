"""A minimal HTTP/1.1 client over a plain socket; the client's own cost is not measured."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

PIECE_BYTES = 1 << 20
TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with a small body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises AssertionError for an error, which would make the figures meaningless."""
        assert self.status < 300, f"{self.status}: {self.body.decode(errors='replace')}"
        return json.loads(self.body)


@dataclass(slots=True)
class Connection:
    """One keep-alive connection to 127.0.0.1, with headers that are sent with every request."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    _socket: socket.socket | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request with a small body and return the response."""
        self._open().sendall(self._head(method, path, len(body), headers) + body)
        return self._answer()

    def send(self, path: str, size: int, piece: bytes, **headers: str) -> Answer:
        """PUT a body of `size` bytes that repeats `piece`."""
        connection, rest, view = self._open(), size, memoryview(piece)
        connection.sendall(self._head("PUT", path, size, headers))
        while rest:
            count = min(rest, len(view))
            connection.sendall(view[:count])
            rest -= count
        return self._answer()

    def fetch(self, path: str, **headers: str) -> int:
        """GET a body, discard it, and return its length. Raises AssertionError if it is incomplete."""
        connection, into = self._open(), bytearray(PIECE_BYTES)
        connection.sendall(self._head("GET", path, 0, headers))
        status, length, begun = self._read_head()
        assert status == 200, status
        rest = length - len(begun)
        while rest and (count := connection.recv_into(into, min(rest, PIECE_BYTES))):
            rest -= count
        assert rest == 0, f"{rest} bytes are missing"
        return length

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _head(self, method: str, path: str, length: int, headers: dict[str, str]) -> bytes:
        named = {name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()}
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def _answer(self) -> Answer:
        status, length, body = self._read_head()
        while len(body) < length:
            body += self._more()
        return Answer(status, body)

    def _read_head(self) -> tuple[int, int, bytes]:
        """Return status, Content-Length, and the part of the body that was read with the headers."""
        read = b""
        while b"\r\n\r\n" not in read:
            read += self._more()
        head, _, body = read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), int(fields.get("content-length", "0")), body

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(1 << 16)
        assert data, "the server closed the connection"
        return data
