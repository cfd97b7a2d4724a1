"""A way from browser to service that can be cut in the middle of an answer, as mobile networks and proxies do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE_BYTES = 65_536


class Road:
    """Passes bytes on between a port of its own and the service's. `cut_after` cuts one answer, once."""

    def __init__(self, listener: socket.socket) -> None:
        """Listen already; the service behind starts later, when it knows by what address it is reached."""
        self._listener = listener
        self.target = 0
        """The service's port."""
        self.port: int = listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.cut_after: int | None = None
        """The next answer that grows longer than this many bytes is cut there."""
        self.cut_request_after: int | None = None
        """The next connection that sends more than this many bytes is cut there."""
        self.pause_seconds = 0.0
        """How long to wait before each piece of an answer, to make a download slow enough to be looked at."""
        self.request_bytes_per_second = 0
        """How fast requests pass, to interrupt an upload in its middle; 0 is as fast as they come."""
        self.held = b""
        """Requests in which this stands are kept waiting."""
        self.cuts = 0
        self.passed = 0
        """Bytes that went to the browser so far."""
        self.seen = bytearray()
        """Everything that the browser has sent."""

    def serve(self) -> None:
        """Accept until the listener is closed."""
        with suppress(OSError):
            while True:
                browser, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(browser,), daemon=True).start()

    def _pass(self, browser: socket.socket) -> None:
        with browser, socket.create_connection(("127.0.0.1", self.target)) as service:
            asking = threading.Thread(target=self._ask, args=(browser, service), daemon=True)
            asking.start()
            with suppress(OSError):
                self._answer(service, browser)
            for end in (browser, service):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            asking.join()

    def _ask(self, browser: socket.socket, service: socket.socket) -> None:
        asked = 0
        with suppress(OSError):
            while data := browser.recv(PIECE_BYTES):
                self.seen += data
                asked += len(data)
                if self.cut_request_after is not None and asked > self.cut_request_after:
                    self.cut_request_after = None
                    self.cuts += 1
                    browser.shutdown(socket.SHUT_RDWR)
                    break
                while self.held and self.held in data:
                    time.sleep(0.05)
                if self.request_bytes_per_second:
                    time.sleep(len(data) / self.request_bytes_per_second)
                service.sendall(data)
            service.shutdown(socket.SHUT_WR)

    def _answer(self, service: socket.socket, browser: socket.socket) -> None:
        sent = 0
        while data := service.recv(PIECE_BYTES):
            time.sleep(self.pause_seconds)
            browser.sendall(data)
            sent += len(data)
            self.passed += len(data)
            if self.cut_after is not None and sent > self.cut_after:
                self.cut_after = None
                self.cuts += 1
                return


@contextmanager
def road() -> Iterator[Road]:
    """A road whose `target` is still to be named."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = Road(listener)
        threading.Thread(target=opened.serve, daemon=True).start()
        try:
            yield opened
        finally:
            listener.shutdown(socket.SHUT_RDWR)
