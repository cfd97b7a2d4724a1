"""What the server can check of a sealed file without its key: lengths."""

from __future__ import annotations

from app.crypto.chunked import plain_size
from app.crypto.errors import Truncated
from app.domain.errors import InvalidRequest, MalformedCiphertext
from app.domain.file_meta import MAX_JSON_BYTES


def plain_size_of(sealed_bytes: int) -> int:
    """Return the plaintext size in bytes for a ciphertext size. Raises MalformedCiphertext if none has it."""
    try:
        return plain_size(sealed_bytes)
    except Truncated:
        raise MalformedCiphertext from None


def require_meta_shape(sealed_meta: bytes) -> None:
    """Raise InvalidRequest unless this can be a sealed name and type."""
    try:
        fits = 0 < plain_size(len(sealed_meta)) <= MAX_JSON_BYTES
    except Truncated:
        fits = False
    if not fits:
        raise InvalidRequest("A sealed name and type has at most 3 KiB before it is sealed.")
