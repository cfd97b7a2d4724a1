"""How binary values are written as text: base64url without padding (RFC 4648 section 5) in JSON, headers and links,
standard base64 (section 4) where signed notes and proofs ask for it.

Decoding is strict, so that every value has exactly one spelling: two spellings of one token would have two digests.
"""

import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64

from app.crypto.errors import CryptoError, MalformedSecret

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


def to_base64(data: bytes) -> str:
    """Return `data` in standard base64, padded."""
    return b64encode(data).decode("ascii")


def from_base64(text: str, refusal: type[CryptoError]) -> bytes:
    """Return the bytes that `to_base64` wrote as `text`. Raises `refusal` for any other spelling."""
    try:
        data = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        raise refusal("not well-formed base64") from None
    if to_base64(data) != text:
        raise refusal("not well-formed base64")
    return data
