"""The response of the `content` route: a single file unchanged, or several as a ZIP that is built while it streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping

from zipstream import ZipStream

from app.actions.claim_share import Claimed
from app.actions.fetch_file import ClaimFiles
from app.crypto.encoding import encode
from app.db.file_rows import FileRow
from app.domain.transfer import MAX_NAME_BYTES
from app.lifecycle.download import Pieces
from app.web.streaming import StreamedDownload, attachment, range_header, requested_range


def content_response(files: ClaimFiles, claimed: Claimed, asked: Mapping[str, str]) -> StreamedDownload:
    """Return all files of a claim in one body; of a single file, the range in the request's headers `asked`.

    The header `Caducee-Claim`, also on a refusal, lets a program continue with `files/{n}`.
    """
    claim = claim_header(claimed)
    if len(files.files) == 1:
        return _single(files, claim, asked)
    archive = _archive(files)
    download = files.download(archive.pieces(), len(archive.zip), delivers=True)
    headers = {"Content-Length": str(download.count), "Content-Disposition": attachment(f"{claimed.transfer_id}.zip")}
    return StreamedDownload(download, headers=claim | headers, refusal_headers=claim)


def _single(files: ClaimFiles, claim: dict[str, str], asked: Mapping[str, str]) -> StreamedDownload:
    (file,) = files.files
    etag = f'"{file.blob_id}"'
    part = requested_range(range_header(asked, etag), file.size)
    headers = {**part.headers, "ETag": etag, "Content-Disposition": attachment(files.meta(file).name)}
    download = files.plaintext(file, part.start, part.stop, delivers=part.stop == file.size)
    status = 206 if part.partial else 200
    return StreamedDownload(download, headers=claim | headers, status=status, refusal_headers=claim)


def claim_header(claimed: Claimed) -> dict[str, str]:
    """Return the header with claim id and token, with which a client can resume with `files/{n}`."""
    return {"Caducee-Claim": f"{claimed.claim_id}.{encode(claimed.token)}"}


class _Archive:
    """A ZIP of the download's files (ZIP64), uncompressed so that its length is known in advance.

    The ZIP library pulls its input synchronously, but the pieces come from the event loop. So it runs in a worker
    thread and requests each piece from the loop.
    """

    def __init__(self, files: ClaimFiles) -> None:
        self._files = files
        self.zip = ZipStream(sized=True)

    def add(self, file: FileRow, name: str) -> None:
        self.zip.add(self._pulled(file), name, size=file.size)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        self._loop = asyncio.get_running_loop()
        archive = iter(self.zip)
        while (piece := await asyncio.to_thread(next, archive, None)) is not None:
            yield piece

    def _pulled(self, file: FileRow) -> Iterator[bytes]:
        source = self._files.read_plaintext(file, 0, file.size)
        while True:
            coming = asyncio.run_coroutine_threadsafe(_next(source), self._loop)
            piece = coming.result()
            if piece is None:
                return
            yield bytes(piece)


async def _next(source: Pieces) -> bytes | memoryview | None:
    return await anext(source, None)


def _archive(files: ClaimFiles) -> _Archive:
    archive = _Archive(files)
    taken: set[str] = set()
    for file in files.files:
        archive.add(file, _distinct(files.meta(file).name, taken))
    return archive


def _distinct(name: str, taken: set[str]) -> str:
    """Return the name, or `name (2).ext` and so on if it is taken, ignoring case as some file systems do."""
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
