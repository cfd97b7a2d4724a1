"""base64url without padding (RFC 4648 section 5): how binary values are written in JSON, headers and links.

Decoding is strict, so that every value has exactly one spelling: two spellings of one token would have two digests.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from app.crypto.errors import MalformedSecret

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def encode(data: bytes) -> str:
    """Return `data` in base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str, *, length: int | None = None) -> bytes:
    """Return the bytes that `encode` wrote as `text`; if `length` is given, there must be exactly so many.

    Raises MalformedSecret for padding, any character outside the alphabet, an impossible length, or set bits after
    the last byte.
    """
    if len(text) % 4 == 1 or not _ALPHABET.fullmatch(text):
        raise MalformedSecret("base64url value")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(data) != text or (length is not None and len(data) != length):
        raise MalformedSecret("base64url value")
    return data
