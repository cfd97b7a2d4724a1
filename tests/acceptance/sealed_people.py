"""Depositors of sealed transfers over HTTP, by the programs' own client, and what either side said on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from app.client.sealed_transfer import SealedShare, SealedTransfer
from app.domain.file_meta import FileMeta

NAME = "CANARI-DUPONT-Mélanie-VIH.csv"


class Recorder(httpx.BaseTransport):
    """Carries requests, and keeps every byte that goes either way."""

    def __init__(self) -> None:
        self._transport = httpx.HTTPTransport()
        self.said: dict[str, bytes] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = str(request.url).encode() + repr(request.headers.raw).encode() + request.read()
        answer = self._transport.handle_request(request)
        body = answer.read()
        self.said[f"{len(self.said)} {request.method}"] = sent + repr(answer.headers.raw).encode() + body
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body))

    def close(self) -> None:
        self._transport.close()


def a_sealed_transfer(
    http: httpx.Client, *contents: bytes, name: str = NAME, media_type: str = "text/csv", **terms: Any
) -> SealedTransfer:
    """A sealed transfer with these files."""
    transfer = SealedTransfer.create(http, **({"expires_in": "1h"} | terms))
    for content in contents:
        transfer.add(FileMeta(name, media_type), pieces(content), size=len(content))
    return transfer


def send_sealed(http: httpx.Client, *contents: bytes, recipient: str = "CPAM 75", **terms: object) -> SealedShare:
    """A sealed transfer with these files, and a share of it."""
    return a_sealed_transfer(http, *contents, **terms).issue(recipient)  # type: ignore[arg-type]


def pieces(content: bytes, of: int = 50_000) -> Iterable[bytes]:
    """A file as it is read."""
    return (content[at : at + of] for at in range(0, len(content), of))
