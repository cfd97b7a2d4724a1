"""Resumable uploads: tus 1.0.0 (tus.io/protocols/resumable-upload) with creation, creation-with-upload, termination,
expiration and checksum.

Offsets and lengths are in bytes as they are sent: of plaintext, or, for a sealed transfer, of ciphertext.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from email.utils import format_datetime

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from app.actions.create_upload import NewUpload, create_upload
from app.actions.end_upload import end_upload
from app.actions.receive_part import receive_part
from app.actions.show_upload import show_upload
from app.crypto.encoding import decode
from app.crypto.errors import MalformedSecret
from app.domain.errors import InvalidFileName, InvalidFilePath, InvalidRequest, Refusal, TooLarge, TusVersionUnsupported
from app.domain.file_meta import FileMeta
from app.domain.upload import CHECKSUMS, PART_TYPE, Checksum
from app.lifecycle.upload_parts import PartRequest
from app.web.bodies import announced_length, raw_body, sealed_meta_of
from app.web.guard import CurrentCaller, CurrentResources, GivenClientKey, GuardedRoute, resources_of

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration,checksum"


class TusRoute(GuardedRoute):
    """A route whose responses, refusals too, name the version of tus."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_versioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        await super().handle(scope, receive, send_versioned)


async def _require_tus(request: Request) -> None:
    """Raise TusVersionUnsupported unless the client speaks this version; OPTIONS is how it asks."""
    if request.method != "OPTIONS" and request.headers.get("tus-resumable") != VERSION:
        raise TusVersionUnsupported


router = APIRouter(prefix="/api/v1", route_class=TusRoute, tags=["uploads"], dependencies=[Depends(_require_tus)])


@router.options("/uploads", status_code=204, response_class=Response)
async def uploads_offered(response: Response, resources: CurrentResources) -> None:
    """Return what this service supports of tus."""
    response.headers["Tus-Version"] = VERSION
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Max-Size"] = str(resources.settings.max_transfer_bytes)
    response.headers["Tus-Checksum-Algorithm"] = ",".join(CHECKSUMS)


@router.post("/transfers/{transfer_id}/uploads", status_code=201, response_class=Response)
async def announce_upload(
    request: Request, response: Response, transfer_id: str, caller: CurrentCaller, client_key: GivenClientKey
) -> None:
    """Announce a file; a body is its first part. `Location` is the upload."""
    resources, length = resources_of(request), _number(request, "upload-length")
    new = _announced(request, transfer_id, length)
    has_body = request.headers.get("content-type") == PART_TYPE
    created = await resources.in_thread(create_upload, resources, caller, new, client_key=client_key)
    response.headers["Location"] = f"/api/v1/uploads/{created.id}"
    _expires(response, created.expires_at)
    if has_body or length == 0:
        asked = PartRequest(caller, created.id, client_key, 0, announced_length(request))
        part = await receive_part(resources, asked, raw_body(request), checksum=_checksum(request))
        response.headers["Upload-Offset"] = str(part.offset)
        _expires(response, part.expires_at)


@router.head("/uploads/{upload_id}", response_class=Response)
async def upload_offset(response: Response, upload_id: str, caller: CurrentCaller, resources: CurrentResources) -> None:
    """Return where the upload stands."""
    shown = await resources.in_thread(show_upload, resources, caller, upload_id)
    response.headers["Upload-Offset"] = str(shown.offset)
    response.headers["Upload-Length"] = str(shown.length)
    _expires(response, shown.expires_at)


@router.patch("/uploads/{upload_id}", status_code=204, response_class=Response)
async def add_part(
    request: Request, response: Response, upload_id: str, caller: CurrentCaller, client_key: GivenClientKey
) -> None:
    """Upload the part that begins at `Upload-Offset`. With the last one, the file is stored."""
    offset = _number(request, "upload-offset")
    sealed_meta = sealed_meta_of(request) if "caducee-sealed-meta" in request.headers else None
    asked = PartRequest(caller, upload_id, client_key, offset, announced_length(request), sealed_meta)
    part = await receive_part(resources_of(request), asked, raw_body(request), checksum=_checksum(request))
    response.headers["Upload-Offset"] = str(part.offset)
    _expires(response, part.expires_at)


@router.delete("/uploads/{upload_id}", status_code=204, response_class=Response)
async def give_up_upload(upload_id: str, caller: CurrentCaller, resources: CurrentResources) -> None:
    """Remove an unfinished upload."""
    await end_upload(resources, caller, upload_id)


def _announced(request: Request, transfer_id: str, length: int) -> NewUpload:
    """Read `Upload-Metadata`: `filename`, `path`, `filetype` and `number`; or `number` and `sealed_meta` of a sealed
    file. Raises InvalidRequest, InvalidFileName, InvalidFilePath.
    """
    metadata = _metadata(request)
    number = metadata.get("number")
    if number is not None and not (number.isdigit() and len(number) <= 9):
        raise InvalidRequest("Upload-Metadata: number is a file number, from 0.")
    meta: FileMeta | bytes
    if "sealed_meta" in metadata:
        if "filename" in metadata or "path" in metadata:
            raise InvalidRequest("Upload-Metadata: the name of a sealed file is only in sealed_meta.")
        try:
            meta = decode(metadata["sealed_meta"].decode("latin-1"))
        except MalformedSecret:
            raise InvalidRequest("Upload-Metadata: sealed_meta is base64url without padding.") from None
    else:
        name, kind = _text(metadata.get("filename", b"")), _text(metadata.get("filetype", b"")) or None
        meta = FileMeta.checked(name, kind, _text(metadata.get("path", b""), InvalidFilePath))
    return NewUpload(transfer_id, length, meta, None if number is None else int(number))


def _metadata(request: Request) -> dict[str, bytes]:
    """Parse `Upload-Metadata`: keys and Base64 values, separated by a space, in pairs separated by commas."""
    pairs: dict[str, bytes] = {}
    for pair in filter(None, (part.strip() for part in request.headers.get("upload-metadata", "").split(","))):
        key, _, value = pair.partition(" ")
        try:
            given = base64.b64decode(value.strip(), validate=True)
        except binascii.Error:
            raise InvalidRequest("Upload-Metadata: each value is Base64.") from None
        if key in pairs:
            raise InvalidRequest("Upload-Metadata: a key appears twice.")
        pairs[key] = given
    return pairs


def _text(value: bytes, refusal: type[Refusal] = InvalidFileName) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise refusal from None


def _number(request: Request, header: str) -> int:
    """Return a header's number of bytes. Raises InvalidRequest, TooLarge."""
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"{header.title()}: a number of bytes.")
    if len(text) > 15:
        raise TooLarge
    return int(text)


def _checksum(request: Request) -> Checksum | None:
    header = request.headers.get("upload-checksum")
    return None if header is None else Checksum.parse(header)


def _expires(response: Response, expires_at: datetime) -> None:
    response.headers["Upload-Expires"] = format_datetime(expires_at, usegmt=True)
