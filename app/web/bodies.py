"""Bodies that stream in, with the name they come under. No form, no spooled file: raw bytes as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.actions.deposit_file import Arriving
from app.domain.errors import BodyIncomplete, InvalidFileName, InvalidRequest
from app.domain.file_meta import FileMeta


def arriving(request: Request, filename: str | None) -> Arriving:
    """The file that a request brings: named in the path, or in `Caducee-File-Name` for proxies that log paths.

    Raises InvalidFileName; InvalidRequest for a body that says it is compressed or a form.
    """
    name = filename if filename is not None else _named_in_header(request)
    content_type = request.headers.get("content-type")
    if (content_type or "").lower().startswith("multipart/"):
        raise InvalidRequest("Send the file itself as the body (curl -T), not a form.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequest("Content-Encoding is not taken: send the file as it is.")
    length = request.headers.get("content-length")
    return Arriving(FileMeta.checked(name, content_type), _body(request), int(length) if length else None)


def _named_in_header(request: Request) -> str:
    """The percent-encoded UTF-8 name of `Caducee-File-Name`."""
    header = request.headers.get("caducee-file-name")
    if header is None or not header.isascii():
        raise InvalidFileName("Name the file in the path, or percent-encoded in the header Caducee-File-Name.")
    try:
        return unquote_to_bytes(header).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidFileName from None


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for data in request.stream():
            if data:
                yield data
    except ClientDisconnect:
        raise BodyIncomplete from None
