"""A TCP proxy that cuts a connection at a chosen byte of its request or response, as a broken line does."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["request", "response"]


@dataclass(frozen=True)
class Cut:
    """Cut one connection after `byte` bytes of one direction; by a reset, or by closing it in order."""

    direction: Direction
    byte: int
    reset: bool


@dataclass
class CuttingProxy:
    """Listens on a free port. The next connection gets the cut that is set, later ones pass unharmed."""

    target: tuple[str, int]
    cut: Cut | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """Bytes passed in each direction by the latest connection."""

    def __post_init__(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            cut, self.cut = self.cut, None
            self.counts = {"request": 0, "response": 0}
            _Connection(client, socket.create_connection(self.target), cut, self.counts).start()


class _Connection:
    """One client's connection, and the one that continues it to the server."""

    def __init__(self, client: socket.socket, server: socket.socket, cut: Cut | None, counts: dict[str, int]) -> None:
        self._ways = {"request": (client, server), "response": (server, client)}
        self._cut, self._counts = cut, counts
        self._ended = threading.Lock()
        self._running = threading.Semaphore(1)  # the second way to end closes both

    def start(self) -> None:
        for direction in self._ways:
            threading.Thread(target=self._pass, args=(direction,), daemon=True).start()

    def _pass(self, direction: str) -> None:
        source, sink = self._ways[direction]
        cut = self._cut if self._cut is not None and self._cut.direction == direction else None
        left = None if cut is None else cut.byte
        with suppress(OSError):
            while left != 0:
                data = source.recv(65536 if left is None else min(left, 65536))
                if not data:
                    break
                self._counts[direction] += len(data)
                left = None if left is None else left - len(data)
                sink.sendall(data)
        self._end(reset=cut is not None and left == 0 and cut.reset)
        if not self._running.acquire(blocking=False):
            for end in self._ways["request"]:
                end.close()

    def _end(self, *, reset: bool) -> None:
        """End both ways, once. A reset without its data: reading is shut down first, so that no thread holds on."""
        if not self._ended.acquire(blocking=False):
            return
        for end in self._ways["request"]:
            with suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
