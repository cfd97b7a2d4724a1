"""The baseline of the measurements: a bare ASGI handler under the same server, on plain files.

It does only the unavoidable work: receive the bytes, write them to a file in pieces of 1 MiB, fsync, respond; and send
a file in pieces of 1 MiB. No routes, no checks, no log, no encryption, no database. For small deposits it calls fsync
as often as the service does, on separate files.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from app.runtime.harden import harden_process
from app.terminal.serve import CONNECTIONS

PIECE_BYTES = 1 << 20
FILE_MODE = 0o600


class Bare:
    """PUT, GET and DELETE /file; POST /api/v1/transfers and PUT /api/v1/transfers/{id}/files/x."""

    def __init__(self, folder: Path) -> None:
        """Store all files in `folder`."""
        self._folder = folder
        self._small = SmallFiles(folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        if method == "GET":
            await self._send(send)
            return
        if method == "DELETE":
            (self._folder / "file").unlink()
            await _answer(send, b"{}")
            return
        if path == "/file":
            await self._take(receive)
        elif method == "POST":
            await _body(receive)
            await asyncio.to_thread(self._small.open_transfer)
        else:
            await asyncio.to_thread(self._small.take, await _body(receive))
        await _answer(send, b'{"id": "x"}')

    async def _take(self, receive: Receive) -> None:
        # A new file, as in the service: overwriting a file costs less memory traffic.
        descriptor = os.open(self._folder / "file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        piece, filled, more = memoryview(bytearray(PIECE_BYTES)), 0, True
        try:
            while more:
                message = await receive()
                data, more = memoryview(message["body"]), message["more_body"]
                while data:
                    taken = data[: PIECE_BYTES - filled]
                    piece[filled : filled + len(taken)] = taken
                    filled, data = filled + len(taken), data[len(taken) :]
                    if filled == PIECE_BYTES:
                        os.write(descriptor, piece)
                        filled = 0
            os.write(descriptor, piece[:filled])
            await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)

    async def _send(self, send: Send) -> None:
        descriptor = os.open(self._folder / "file", os.O_RDONLY)
        try:
            await send(_start(200, os.fstat(descriptor).st_size))
            while piece := os.read(descriptor, PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(descriptor)


class SmallFiles:
    """The same fsyncs as a small deposit; a journal, synced by one thread at a time, stands for the database."""

    def __init__(self, folder: Path) -> None:
        """Create the folders and the journal."""
        self._incoming, self._final, self._vault = (folder / name for name in ("incoming", "final", "vault"))
        for made in (self._incoming, self._final, self._vault):
            made.mkdir()
        self._journal = os.open(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        self._turn = threading.Lock()
        self._last = 0

    def open_transfer(self) -> None:
        """Commit a row; write a key and sync its folder."""
        self._commit()
        _write_synced(self._vault / self._name(), b"\xa5" * 60)
        _sync_folder(self._vault)

    def take(self, body: bytes) -> None:
        """Commit a row; write a file in one folder and move it to another; commit the row again."""
        self._commit()
        name = self._name()
        _write_synced(self._incoming / name, body)
        (self._incoming / name).rename(self._final / name)
        _sync_folder(self._final)
        _sync_folder(self._incoming)
        self._commit()

    def _commit(self) -> None:
        with self._turn:
            os.write(self._journal, b"\xa5" * 4096)
            os.fsync(self._journal)

    def _name(self) -> str:
        with self._turn:
            self._last += 1
            return str(self._last)


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _body(receive: Receive) -> bytes:
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message["more_body"]
    return b"".join(pieces)


async def _answer(send: Send, body: bytes) -> None:
    await send(_start(201, len(body)))
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _start(status: int, length: int) -> dict[str, object]:
    headers = [(b"content-length", str(length).encode()), (b"content-type", b"application/octet-stream")]
    return {"type": "http.response.start", "status": status, "headers": headers}


def main() -> None:
    """Serve with the same server, parser, loop, limits and allocator as `caducee serve`, but without its protocol class
    (app/web/server.py), which is part of what is measured.
    """
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    harden_process()
    uvicorn.run(
        Bare(folder),
        host="127.0.0.1",
        port=port,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
    )


if __name__ == "__main__":
    main()
