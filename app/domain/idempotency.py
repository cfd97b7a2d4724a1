"""Requests that a client may repeat because it never received the response (`Idempotency-Key`, IETF draft
draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from app.domain.errors import InvalidRequest

LEASE = timedelta(seconds=20)
"""How long a request that died may hold up its repetition. A running one renews its lease."""

REPLACEABLE_FOR = timedelta(hours=1)
"""How long a result whose response was lost can be replaced."""

KEPT_FOR = timedelta(hours=24)
"""How long a key is kept: from the end of its transfer, or from the request if it made none."""

DIGESTED_BYTES = 64 * 1024
"""Longest body whose digest is part of the fingerprint."""

_KEY = re.compile(r'"[\x21\x23-\x5b\x5d-\x7e]{16,255}"|[\x21\x23-\x7e]{16,255}')


@dataclass(frozen=True, slots=True, repr=False)
class IdempotentRequest:
    """A request with an idempotency key: `digest` (32 bytes) of the key in its scope, and `fingerprint` (32 bytes) of
    the request. `transfer_id` is that of the path, None for a request that creates a transfer.
    """

    digest: bytes
    fingerprint: bytes
    owner: str
    transfer_id: str | None


@dataclass(frozen=True, slots=True)
class RequestContent:
    """The parts of a request that its repetition must share; the body's length (bytes) and SHA-256 where known."""

    method: str
    path: bytes
    query: bytes
    length: int | None
    body_digest: bytes | None


def checked_key(text: str) -> str:
    """Return the key in a header's value, with or without the draft's quotes. Raises InvalidRequest."""
    if _KEY.fullmatch(text) is None:
        raise InvalidRequest("Idempotency-Key: 16 to 255 visible ASCII characters, better random.")
    return text.strip('"')


def identify(
    key: str, content: RequestContent, *, owner: str, route: str, transfer_id: str | None
) -> IdempotentRequest:
    """Identify a request. A key is valid for one owner, route and transfer."""
    scope = _joined(owner.encode(), route.encode(), (transfer_id or "").encode(), key.encode())
    length = b"" if content.length is None else str(content.length).encode()
    said = _joined(content.method.encode(), content.path, content.query, length, content.body_digest or b"")
    fingerprint = hmac.digest(key.encode(), said, "sha256")
    return IdempotentRequest(sha256(b"idempotency-key" + scope).digest(), fingerprint, owner, transfer_id)


def _joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
