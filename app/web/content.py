"""Downloads of all files of a claim at once: a single file unchanged, or several as a ZIP built while it streams."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from app.actions.claim_share import Claimed
from app.actions.fetch_file import ClaimFiles
from app.crypto.encoding import encode
from app.domain.portable_names import distinct_paths
from app.domain.zip_format import ZipEntry, ZipLayout
from app.web.streaming import ByteRange, StreamedDownload, attachment, range_header, requested_range, saved_as


def content_response(files: ClaimFiles, claimed: Claimed, asked: Mapping[str, str]) -> StreamedDownload:
    """Return all files of a claim in one body, or the range in the request's headers `asked`.

    The header `Caducee-Claim`, also on a refusal, lets a program continue with `files/{n}`.
    """
    claim = claim_header(claimed)
    if len(files.files) > 1:
        return archive_response(files, asked, headers=claim, delivers=True)
    (file,) = files.files
    etag = f'"{file.blob_id}"'
    part = requested_range(range_header(asked, etag), file.size)
    headers = {**part.headers, "ETag": etag, **saved_as(files.meta(file), file.number)}
    download = files.plaintext(file, part.start, part.stop, delivers=part.stop == file.size)
    status = 206 if part.partial else 200
    return StreamedDownload(download, headers=claim | headers, status=status, refusal_headers=claim)


def claim_header(claimed: Claimed) -> dict[str, str]:
    """Return the header with claim id and token, with which a client can resume with `files/{n}`."""
    return {"Caducee-Claim": f"{claimed.claim_id}.{encode(claimed.token)}"}


def archive_name(deposited_at: datetime, zone: ZoneInfo) -> str:
    """Return the name of a transfer's ZIP, by the time of its first file in the house's zone. It holds nothing of the
    label, which is free text, and no file name.
    """
    return f"caducee-{deposited_at.astimezone(zone):%Y-%m-%d-%H%M}.zip"


def archive_response(
    files: ClaimFiles, asked: Mapping[str, str], *, headers: dict[str, str] | None = None, delivers: bool = False
) -> StreamedDownload:
    """Return the files of a claim as a ZIP, or a range of it. `headers` are added, also to a refusal.

    Ranges are served only if every file's checksum is stored. Files deposited by older programs have none, and the
    bytes that follow them are known only once they were read.
    """
    archive = _Archive(files)
    etag = archive.etag
    wanted = range_header(asked, etag) if archive.layout.is_fixed else None
    part = requested_range(wanted, archive.layout.size)
    name = archive_name(files.files[0].created_at, files.resources.settings.zone)
    named = {"ETag": etag, "Content-Disposition": attachment(name)}
    stated = part.headers | ({} if archive.layout.is_fixed else {"Accept-Ranges": "none"})
    delivers = delivers and part.stop == part.size
    download = files.download(archive.pieces(part), part.stop - part.start, delivers=delivers)
    return StreamedDownload(
        download,
        headers={**(headers or {}), **stated, **named},
        status=206 if part.partial else 200,
        refusal_headers=headers,
    )


class _Archive:
    """A ZIP of the files of a claim."""

    def __init__(self, files: ClaimFiles) -> None:
        self._files = files
        metas = [files.meta(file) for file in files.files]
        names = distinct_paths((meta.path, meta.name) for meta in metas)
        self.layout = ZipLayout(
            [
                ZipEntry(name, file.size, meta.crc32, file.created_at)
                for name, file, meta in zip(names, files.files, metas, strict=True)
            ]
        )

    @property
    def etag(self) -> str:
        """A strong validator. The random ids of the blobs keep it from confirming a guess of the names."""
        pairs = zip(self._files.files, self.layout.entries, strict=True)
        stated = [(file.blob_id, entry.name, entry.size, entry.crc32) for file, entry in pairs]
        return f'"{sha256(repr(stated).encode()).hexdigest()[:32]}"'

    async def pieces(self, wanted: ByteRange) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield the wanted range of the archive."""
        checksums: dict[int, int] = {}
        position = 0
        for part in self.layout.parts(checksums):
            length = self.layout.entries[part].size if isinstance(part, int) else len(part)
            first, last = max(wanted.start - position, 0), min(wanted.stop - position, length)
            position += length
            if isinstance(part, int):
                checksums[part] = 0
                if first < last or length == 0:  # an empty file is checked, too
                    async with aclosing(self._files.read_plaintext(self._files.files[part], first, last)) as content:
                        async for piece in content:
                            if self.layout.entries[part].crc32 is None:
                                checksums[part] = zlib.crc32(piece, checksums[part])
                            yield piece
            elif first < last:
                yield part[first:last]
            if position >= wanted.stop:
                return
