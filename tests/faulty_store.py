"""An S3 server that is slow, lies, or breaks off: a proxy in front of a real one, which changes chosen answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOP_BY_HOP = {"connection", "transfer-encoding", "date", "server", "keep-alive"}
ALWAYS = 1_000_000


@dataclass
class Answer:
    """An answer of the server. `lost`: the connection ends instead."""

    status: int
    headers: dict[str, str]
    body: bytes
    lost: bool = False


@dataclass
class _Fault:
    method: str
    part: str
    times: int
    before: bool
    change: Callable[[Answer], Answer]


@dataclass
class Faults:
    """The faults that a test has asked for. Each concerns requests of a method whose path or query contains a text."""

    endpoint: str = ""
    seen: list[str] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refuse(self, method: str, part: str, *, status: int, code: str, times: int = ALWAYS) -> None:
        """Answer with an error, without asking the server."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>SEKRET</Message></Error>".encode()
        self._add(method, part, times, True, lambda _: Answer(status, {"Content-Type": "application/xml"}, body))

    def lose(self, method: str, part: str, *, times: int = 1) -> None:
        """Let the server act, and break the connection instead of passing on its answer."""
        self._add(method, part, times, False, lambda answer: replace(answer, lost=True))

    def change(self, method: str, part: str, change: Callable[[Answer], Answer], *, times: int = ALWAYS) -> None:
        """Change the server's answer."""
        self._add(method, part, times, False, change)

    def wait(self, method: str, part: str, until: threading.Event) -> None:
        """Hold the answer back."""

        def hold(answer: Answer) -> Answer:
            until.wait(30)
            return answer

        self._add(method, part, ALWAYS, False, hold)

    def clear(self) -> None:
        """Behave from now on."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str, *, before: bool) -> Callable[[Answer], Answer] | None:
        """Return what happens to this request or its answer, if anything."""
        with self._lock:
            for fault in self._faults:
                if fault.method == method and fault.part in path and fault.before is before and fault.times:
                    fault.times -= 1
                    return fault.change
        return None

    def _add(self, method: str, part: str, times: int, before: bool, change: Callable[[Answer], Answer]) -> None:
        with self._lock:
            self._faults.append(_Fault(method, part, times, before, change))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    server: _Server

    def answer(self) -> None:
        faults = self.server.faults
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        faults.seen.append(f"{self.command} {self.path}")
        change = faults.take(self.command, self.path, before=True)
        if change is not None:
            self._send(change(Answer(200, {}, b"")))
            return
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            answer = Answer(response.status, headers, response.read())
        finally:
            connection.close()
        change = faults.take(self.command, self.path, before=False)
        self._send(change(answer) if change else answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names of http.server

    def _send(self, answer: Answer) -> None:
        if answer.lost:
            self.close_connection = True
            return
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body))} | answer.headers
        if self.command != "HEAD" and int(headers["Content-Length"]) > len(answer.body):
            self.close_connection = True  # else the client waits for the rest
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, faults: Faults, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults, self.upstream = faults, upstream

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that breaks off is part of some tests."""


@contextmanager
def faulty(endpoint: str) -> Iterator[Faults]:
    """Run the proxy on a port of its own."""
    faults = Faults()
    server = _Server(faults, endpoint.removeprefix("http://"))
    faults.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
