"""Text encodings of binary values: base64url without padding (RFC 4648 section 5) in JSON, headers and links, and
standard base64 (section 4) in signed notes and proofs.

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
    """Decode the output of `encode`; `length`, if given, is the exact number of bytes required.

    Raises MalformedSecret for padding, a character outside the alphabet, a wrong length, or set bits after the last
    byte.
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
    """Decode the output of `to_base64`. Raises `refusal` for any other spelling."""
    try:
        data = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        raise refusal("not well-formed base64") from None
    if to_base64(data) != text:
        raise refusal("not well-formed base64")
    return data
