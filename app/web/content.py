"""The one-line `content` route's answer: one file as it is, or several as a ZIP that is made while it streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from zipstream import ZipStream

from app.actions.claim_share import Claimed
from app.actions.fetch_file import Download
from app.crypto.encoding import encode
from app.db.file_rows import FileRow
from app.domain.transfer import MAX_NAME_BYTES
from app.web.streaming import Pieces, StreamedDownload, attachment


async def content_response(download: Download, claimed: Claimed) -> StreamedDownload:
    """Everything of a claim in one body. `Caducee-Claim` lets a download that was cut resume by `files/{n}`."""
    headers = claim_header(claimed)
    if len(download.files) == 1:
        file = download.files[0]
        await download.reserve(file.size)
        headers |= {
            "Content-Length": str(file.size),
            "Content-Disposition": attachment(download.meta(file).name),
        }
        return StreamedDownload(
            download, lambda: download.plaintext(file, 0, file.size), headers=headers, delivers=True
        )
    archive = _archive(download)
    await download.reserve(len(archive.zip))
    headers |= {
        "Content-Length": str(len(archive.zip)),
        "Content-Disposition": attachment(f"{claimed.transfer_id}.zip"),
    }
    return StreamedDownload(download, archive.pieces, headers=headers, delivers=True)


def claim_header(claimed: Claimed) -> dict[str, str]:
    """What a program needs to go on by `files/{n}`."""
    return {"Caducee-Claim": f"{claimed.claim_id}.{encode(claimed.token)}"}


class _Archive:
    """A ZIP of the download's files, stored without compression so that its length is known beforehand (ZIP64).

    The ZIP library pulls its input where our pieces come from the event loop; so it runs in a worker thread, and asks
    the loop for each piece.
    """

    def __init__(self, download: Download) -> None:
        self._download = download
        self.zip = ZipStream(sized=True)

    def add(self, file: FileRow, name: str) -> None:
        self.zip.add(self._pulled(file), name, size=file.size)

    async def pieces(self) -> AsyncIterator[bytes | memoryview]:
        self._loop = asyncio.get_running_loop()
        archive = iter(self.zip)
        while (piece := await asyncio.to_thread(next, archive, None)) is not None:
            yield piece

    def _pulled(self, file: FileRow) -> Iterator[bytes]:
        source = self._download.plaintext(file, 0, file.size)
        while True:
            coming = asyncio.run_coroutine_threadsafe(_next(source), self._loop)
            piece = coming.result()
            if piece is None:
                return
            yield bytes(piece)


async def _next(source: Pieces) -> bytes | memoryview | None:
    return await anext(source, None)


def _archive(download: Download) -> _Archive:
    archive = _Archive(download)
    taken: set[str] = set()
    for file in download.files:
        archive.add(file, _distinct(download.meta(file).name, taken))
    return archive


def _distinct(name: str, taken: set[str]) -> str:
    """The name, or `name (2).ext` and so on where it is taken; some file systems ignore case."""
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    candidate, count = name, 1
    while candidate.casefold() in taken:
        count += 1
        ending = f" ({count}){dot}{suffix}"
        room = max(1, MAX_NAME_BYTES - len(ending.encode()))
        candidate = stem.encode()[:room].decode(errors="ignore") + ending
    taken.add(candidate.casefold())
    return candidate
