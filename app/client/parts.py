"""Sends a sealed file in parts (tus 1.0.0) until the service has all of it, whatever breaks off in between.

Most of the file goes in parts of 64 MiB; the last MiB goes alone, because its part carries the file's checksum with its
name, and the checksum is known once the file was read.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from app.client import sealing
from app.client.errors import ServiceRefused, ServiceUnavailable
from app.client.http_calls import ask_for, refused
from app.client.patience import Patience
from app.client.sealed_transfer import SealedTransfer
from app.client.source import SealedSource
from app.crypto import chunked
from app.crypto.encoding import encode
from app.domain.file_meta import FileMeta

PART_BYTES = 64 << 20
LAST_BYTES = 1 << 20
PIECES_AHEAD = 8
"""Pieces of about 1 MiB that are in memory before they are sent."""

TUS = {"Tus-Resumable": "1.0.0"}
PART = {"Content-Type": "application/offset+octet-stream"}


@dataclass(frozen=True, slots=True, repr=False)
class SealedUpload:
    """One file of a sealed transfer on its way. `upload` is its path on the service; `moved` is told how many bytes of
    the file have arrived.
    """

    transfer: SealedTransfer
    number: int
    meta: FileMeta
    source: SealedSource
    upload: str
    moved: Callable[[int], None]

    def run(self, patience: Patience) -> None:
        """Send what is missing. Raises FileChanged, ServiceRefused; ServiceUnavailable once patience is over."""
        reached = 0
        while (at := patience.call(self._offset, moves=False)) < self.source.sealed_size:
            self.moved(min(self.source.size, at))
            if at > reached:  # progress is what the service has, not what a socket has taken
                patience.renew()
            reached = max(reached, at)
            try:
                self._send_from(at, patience)
            except ServiceRefused as failure:
                if failure.code != "wrong_offset":  # then the next question is where to go on
                    patience.wait_after(failure)
        self.moved(self.source.size)
        patience.renew()

    def _send_from(self, at: int, patience: Patience) -> None:
        context = chunked.file_context(self.transfer.id, self.number)
        with closing(_ahead(self.source.sealed(self.transfer.transfer_key, context, start=at))) as sealed:
            pieces = _Pieces(sealed)
            last = max(at, self.source.sealed_size - LAST_BYTES)
            while at < last:
                length = min(PART_BYTES, last - at)
                self._patch(at, length, self._counted(pieces.take(length), at))
                at += length
                patience.renew()
            rest = b"".join(pieces.take(self.source.sealed_size - at))
        meta = replace(self.meta, crc32=self.source.crc32)
        sealed_meta = sealing.seal_meta(self.transfer.transfer_key, self.transfer.id, self.number, meta)
        self._patch(at, len(rest), rest, **{"Caducee-Sealed-Meta": encode(sealed_meta)})

    def _counted(self, pieces: Iterator[bytes], at: int) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            at += len(piece)
            self.moved(min(self.source.size, at))

    def _offset(self) -> int:
        answer = ask_for(self.transfer.http, "HEAD", self.upload, headers=TUS)
        offset = answer.headers.get("Upload-Offset", "")
        if not offset.isdigit():
            raise ServiceUnavailable("the response does not come from the service")
        return int(offset)

    def _patch(self, at: int, length: int, content: Any, **more: str) -> None:
        headers = TUS | PART | {"Upload-Offset": str(at), "Content-Length": str(length)} | more
        ask_for(self.transfer.http, "PATCH", self.upload, headers=headers, content=content)


def announce(transfer: SealedTransfer, number: int, meta: FileMeta, sealed_size: int) -> str:
    """Announce a file and return its upload's path. Repeated, it returns the same, unless something arrived already.

    Raises ServiceRefused.
    """
    sealed_meta = sealing.seal_meta(transfer.transfer_key, transfer.id, number, meta)
    values = {"number": str(number), "sealed_meta": encode(sealed_meta)}
    given = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())
    headers = TUS | {"Upload-Length": str(sealed_size), "Upload-Metadata": given}
    answer = ask_for(transfer.http, "POST", f"/api/v1/transfers/{transfer.id}/uploads", headers=headers)
    location: str = answer.headers.get("Location", "")
    if not location.startswith("/api/v1/uploads/"):
        raise refused(answer)
    return location


def _ahead(pieces: Iterator[bytes]) -> Generator[bytes]:
    """Yield the pieces, while a thread makes the next ones: the file is read, hashed and encrypted while earlier pieces
    are on their way. The thread has ended when this generator is closed.
    """
    with ThreadPoolExecutor(1, "seal") as thread:
        following = deque(thread.submit(next, pieces, None) for _ in range(PIECES_AHEAD))
        try:
            while (piece := following.popleft().result()) is not None:
                following.append(thread.submit(next, pieces, None))
                yield piece
        finally:
            thread.shutdown(cancel_futures=True)


class _Pieces:
    """Takes exact numbers of bytes from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def take(self, count: int) -> Iterator[bytes]:
        """Yield pieces of `count` bytes in all."""
        while count:
            if not self._left:
                self._left = next(self._pieces)
            taken, self._left = self._left[:count], self._left[count:]  # a piece that is taken whole is not copied
            count -= len(taken)
            yield taken
