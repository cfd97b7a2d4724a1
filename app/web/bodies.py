"""Streaming request bodies, with their file names. Bodies are raw bytes: no forms, no spooled files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.actions.deposit_file import IncomingFile
from app.actions.deposit_sealed_file import IncomingSealedFile
from app.crypto.encoding import decode
from app.crypto.errors import MalformedSecret
from app.domain.errors import BodyIncomplete, InvalidFileName, InvalidRequest, TransferIsSealed
from app.domain.file_meta import FileMeta


def incoming_file(request: Request, filename: str | None) -> IncomingFile:
    """Return the file in a request; its name is in the path, or in `Caducee-File-Name` in case a proxy logs paths.

    Raises InvalidFileName; InvalidRequest for a form or a Content-Encoding.
    """
    name = filename if filename is not None else _named_in_header(request)
    meta = FileMeta.checked(name, request.headers.get("content-type"))
    _require_bare_body(request)
    return IncomingFile(meta, _body(request), announced_length(request))


def incoming_sealed_file(request: Request, number: int) -> IncomingSealedFile:
    """Return the sealed file in a request; its encrypted name and type are in `Caducee-Sealed-Meta`.

    Raises InvalidRequest; TransferIsSealed for a plaintext name.
    """
    if "caducee-file-name" in request.headers:
        raise TransferIsSealed("The name of a sealed file is only in Caducee-Sealed-Meta, never in plaintext.")
    try:
        sealed_meta = decode(request.headers.get("caducee-sealed-meta", ""))
    except MalformedSecret:
        raise InvalidRequest("Caducee-Sealed-Meta: base64url without padding.") from None
    _require_bare_body(request)
    return IncomingSealedFile(number, sealed_meta, _body(request), announced_length(request))


def _require_bare_body(request: Request) -> None:
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise InvalidRequest("Send the file itself as the body (curl -T), not a form.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequest("Content-Encoding is not supported: send the file uncompressed.")


def announced_length(request: Request) -> int | None:
    """Return the Content-Length in bytes, or None."""
    length = request.headers.get("content-length")
    return int(length) if length else None


def _named_in_header(request: Request) -> str:
    """Return the percent-encoded UTF-8 name in `Caducee-File-Name`. Raises InvalidFileName."""
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
