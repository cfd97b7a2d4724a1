"""Refuses a request whose headers give its body another meaning than the route does, before the body is read.

A header that is ignored would have half a file, a form or an archive stored as the file: lesson 45. `GuardedRoute`
applies these rules to every route, so that none can forget them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto

from fastapi import Request

from app.domain import upload
from app.domain.errors import ContentEncodingRefused, InvalidRequest, PartialBodyRefused, UnsupportedMediaType

SEND_THE_FILE = "Send the file itself as the body (curl -T FILE), with its own Content-Type or none."
SEND_JSON = "Send JSON, with the header Content-Type: application/json."

NO_BODY = frozenset({"content", "complete"})
"""POST routes that read no body. Any other that takes no JSON takes a file, so a new one cannot be forgotten."""

TEXT = frozenset({"audit_consistency"})
"""Routes that read a short text, whatever type the client gives it: `curl --data-binary` calls it a form."""

PARTS = frozenset({"add_part", "announce_upload"})
"""Routes of resumable uploads: a body is a part of a file, and says so by its type (tus 1.0.0)."""
SEND_A_PART = f"Send the part with the header Content-Type: {upload.PART_TYPE}."

_ONCE = ("caducee-file-name", "caducee-file-path", "caducee-sealed-meta", "caducee-client-key")
_PLAIN_CODINGS = {"", "identity", "binary", "8bit", "7bit"}


class Body(Enum):
    """The kind of body that a route takes."""

    FILE = auto()
    JSON = auto()
    TEXT = auto()
    PART = auto()
    NONE = auto()


def body_of(route: str, methods: Collection[str], *, takes_json: bool) -> Body:
    """Return the kind of body of a route, by its name and methods."""
    if takes_json:
        return Body.JSON
    if route in TEXT:
        return Body.TEXT
    if route in PARTS:
        return Body.PART
    return Body.NONE if route in NO_BODY or {"PUT", "POST", "PATCH"}.isdisjoint(methods) else Body.FILE


def require_body_as_meant(request: Request, body: Body) -> None:
    """Refuse parts, forms, compressed bodies, and headers that contradict each other.

    Raises PartialBodyRefused, ContentEncodingRefused, UnsupportedMediaType, InvalidRequest.
    """
    if body is Body.NONE:
        return
    _require_whole(request, body)
    _require_plain(request)
    if body is Body.PART:
        _require_part(request)
    elif body is not Body.TEXT:
        _require_type(request.headers.getlist("content-type"), body)
    for name in _ONCE:
        if len(request.headers.getlist(name)) > 1:
            raise InvalidRequest(f"{name.title()}: given twice.")


def _require_whole(request: Request, body: Body) -> None:
    """Refuse a part of a body (RFC 9110, 14.5), and `Range`, which clients confuse with it."""
    headers = request.headers
    if "content-range" in headers or (body in {Body.FILE, Body.PART} and "range" in headers):
        raise PartialBodyRefused
    if body is Body.PART:
        return
    # Resumable uploads that this route does not support (tus; draft-ietf-httpbis-resumable-upload).
    if "upload-offset" in headers or headers.get("upload-complete", "?1").strip() != "?1":
        raise PartialBodyRefused


def _require_part(request: Request) -> None:
    """An announcement has no body unless the part's type says so; `PATCH` always has one."""
    given = request.headers.getlist("content-type")
    if given != [upload.PART_TYPE] and (
        given or request.method == "PATCH" or request.headers.get("content-length", "0") != "0"
    ):
        raise UnsupportedMediaType(SEND_A_PART)


def _require_plain(request: Request) -> None:
    for header in ("content-encoding", "content-transfer-encoding"):
        for line in request.headers.getlist(header):
            if not _PLAIN_CODINGS.issuperset(coding.strip().lower() for coding in line.split(",")):
                raise ContentEncodingRefused


def _require_type(stated: Sequence[str], body: Body) -> None:
    advice = SEND_THE_FILE if body is Body.FILE else SEND_JSON
    kind = ",".join(stated).partition(";")[0].strip().lower()
    if len(stated) > 1 or "," in kind:  # a proxy joins two lines to one
        raise UnsupportedMediaType(f"Content-Type: given twice. {advice}")
    if kind == "application/x-www-form-urlencoded" or kind.startswith("multipart/"):
        raise UnsupportedMediaType(f"This request takes no form. {advice}")
