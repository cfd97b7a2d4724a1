"""HTTP/1.1 over a plain socket, as little of it as the measurements need: what the client costs is not measured."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

PIECE_BYTES = 1 << 20
TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body was small enough to keep."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises AssertionError for a refusal: a benchmark of refusals measures nothing."""
        assert self.status < 300, f"{self.status}: {self.body.decode(errors='replace')}"
        return json.loads(self.body)


@dataclass(slots=True)
class Connection:
    """One keep-alive connection to 127.0.0.1, with headers that go out on every request."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    _socket: socket.socket | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request with a small body and read its answer."""
        self._open().sendall(self._head(method, path, len(body), headers) + body)
        return self._answer()

    def send(self, path: str, size: int, piece: bytes, **headers: str) -> Answer:
        """PUT a body of `size` bytes, made of one piece over and over."""
        connection, rest, view = self._open(), size, memoryview(piece)
        connection.sendall(self._head("PUT", path, size, headers))
        while rest:
            count = min(rest, len(view))
            connection.sendall(view[:count])
            rest -= count
        return self._answer()

    def fetch(self, path: str, **headers: str) -> int:
        """GET a body and throw it away. Answers how many bytes came, all of them or AssertionError."""
        connection, into = self._open(), bytearray(PIECE_BYTES)
        connection.sendall(self._head("GET", path, 0, headers))
        status, length, begun = self._read_head()
        assert status == 200, status
        rest = length - len(begun)
        while rest and (count := connection.recv_into(into, min(rest, PIECE_BYTES))):
            rest -= count
        assert rest == 0, f"{rest} bytes did not come"
        return length

    def close(self) -> None:
        """Hang up."""
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
        """Status, Content-Length, and what of the body came along."""
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
        assert data, "the server hung up"
        return data
