"""Streaming request bodies, with their file names. Bodies are raw bytes: no forms, no spooled files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.actions.deposit_file import IncomingFile
from app.actions.deposit_sealed_file import IncomingSealedFile
from app.crypto.encoding import decode
from app.crypto.errors import MalformedSecret
from app.domain.errors import (
    BodyIncomplete,
    ClientTooSlow,
    EmptyBody,
    InvalidFileName,
    InvalidRequest,
    TransferIsSealed,
)
from app.domain.file_meta import FileMeta
from app.web.wire_text import name_in_header, name_in_path, path_in_header


async def incoming_file(
    request: Request, filename: str | None, *, allow_empty: bool, idle_seconds: float
) -> IncomingFile:
    """Return the file in a request; its name is in the URL, or in `Caducee-File-Name` in case a proxy logs URLs; the
    folders above it are in `Caducee-File-Path`.

    Nothing of the body is read, unless only its first piece shows whether it is empty. Raises InvalidFileName,
    InvalidFilePath, EmptyBody, ClientTooSlow, BodyIncomplete.
    """
    if filename is None:
        name = name_in_header(request)
    elif "caducee-file-name" in request.headers:
        raise InvalidFileName("Name the file in the path or in the header Caducee-File-Name, not in both.")
    else:
        name = name_in_path(request, filename)
    meta = FileMeta.checked(name, request.headers.get("content-type"), path_in_header(request))
    body = raw_body(request)
    if not allow_empty:
        body = await _not_empty(request, body, idle_seconds)
    return IncomingFile(meta, body, announced_length(request))


def incoming_sealed_file(request: Request, number: int) -> IncomingSealedFile:
    """Return the sealed file in a request; its encrypted name and type are in `Caducee-Sealed-Meta`.

    Raises InvalidRequest; TransferIsSealed for a plaintext name.
    """
    if "caducee-file-name" in request.headers or "caducee-file-path" in request.headers:
        raise TransferIsSealed("The name of a sealed file is only in Caducee-Sealed-Meta, never in plaintext.")
    sealed_meta = sealed_meta_of(request)
    return IncomingSealedFile(number, sealed_meta, raw_body(request), announced_length(request))


def sealed_meta_of(request: Request) -> bytes:
    """Return the encrypted name and type in `Caducee-Sealed-Meta`. Raises InvalidRequest."""
    try:
        return decode(request.headers.get("caducee-sealed-meta", ""))
    except MalformedSecret:
        raise InvalidRequest("Caducee-Sealed-Meta: base64url without padding.") from None


def announced_length(request: Request) -> int | None:
    """Return the Content-Length in bytes, or None."""
    length = request.headers.get("content-length")
    return int(length) if length else None


async def _not_empty(request: Request, body: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[bytes]:
    """Return the whole body again. An empty one is most often an export that failed, and is refused before a transfer
    is opened for it. Raises EmptyBody, ClientTooSlow, BodyIncomplete.
    """
    if announced_length(request):
        return body
    if "transfer-encoding" not in request.headers:
        raise EmptyBody
    try:
        async with asyncio.timeout(idle_seconds):
            first = await anext(body, None)
    except TimeoutError:
        raise ClientTooSlow from None
    if first is None:
        raise EmptyBody
    return chained([first], body)


async def chained(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces that were read ahead, then the rest."""
    for piece in first:
        yield piece
    async for piece in rest:
        yield piece


async def raw_body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises BodyIncomplete."""
    try:
        async for data in request.stream():
            if data:
                yield data
    except ClientDisconnect:
        raise BodyIncomplete from None
