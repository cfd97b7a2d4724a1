"""Random ids, secrets and access tokens, and the digests that the database stores instead of secrets.

An access token is `cad_`, 43 characters (256 random bits), and a checksum of 6 characters. The checksum is not secret:
it lets a secret scanner recognise a leaked token, and a mistyped token be refused before any database access.
"""

import hmac
import secrets
from hashlib import sha256
from itertools import count

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret

ID_BYTES = 16
ID_CHARS = 22
SECRET_BYTES = 32
ACCESS_TOKEN_PREFIX = "cad_"  # noqa: S105  (the public part of every token)
_CHECKSUM_BYTES = 4
_CHECKSUM_CHARS = 6
_ACCESS_TOKEN_CHARS = len(ACCESS_TOKEN_PREFIX) + 43 + _CHECKSUM_CHARS


def new_id() -> str:
    """Return a fresh id: 16 random bytes as 22 characters of base64url. It never begins with a dash, so that commands
    do not parse it as an option.
    """
    while (text := encode(secrets.token_bytes(ID_BYTES))).startswith("-"):
        pass
    return text


def id_of(content: bytes) -> str:
    """Return the id of `content`: the first 16 bytes of its SHA-256, in the form of `new_id`. The id reveals nothing
    about content that contains a secret, and nobody can find other content with the same id.
    """
    texts = (encode(sha256(content + bytes([attempt])).digest()[:ID_BYTES]) for attempt in count())
    return next(text for text in texts if not text.startswith("-"))


def is_id(text: str) -> bool:
    """Return whether `text` has the form of an id: 22 characters of canonical base64url."""
    if len(text) != ID_CHARS:
        return False
    try:
        decode(text, length=ID_BYTES)
    except MalformedSecret:
        return False
    return True


def new_secret() -> bytes:
    """Return 32 random bytes: a key, a link secret, a claim token."""
    return secrets.token_bytes(SECRET_BYTES)


def digest(secret: bytes | bytearray | str) -> bytes:
    """Return the SHA-256 of a secret (text as UTF-8), which the database stores in its place.

    A plain hash suffices because every secret here has 256 random bits or is stretched. Raises MalformedSecret for text
    that is not valid Unicode.
    """
    if isinstance(secret, str):
        try:
            secret = secret.encode("utf-8")
        except UnicodeEncodeError:  # its message and attributes contain the secret
            raise MalformedSecret("text") from None
    return sha256(secret).digest()


def same(a: bytes, b: bytes) -> bool:
    """Compare two byte strings in constant time."""
    return hmac.compare_digest(a, b)


def new_access_token() -> str:
    """Return a fresh access token, to be shown once."""
    body = ACCESS_TOKEN_PREFIX + encode(new_secret())
    return body + _checksum(body)


def check_access_token(text: str) -> None:
    """Check the form and checksum of an access token. Raises MalformedSecret."""
    body, checksum = text[:-_CHECKSUM_CHARS], text[-_CHECKSUM_CHARS:]
    if len(text) != _ACCESS_TOKEN_CHARS or not text.isascii() or not body.startswith(ACCESS_TOKEN_PREFIX):
        raise MalformedSecret("access token")
    try:
        decode(body.removeprefix(ACCESS_TOKEN_PREFIX), length=SECRET_BYTES)
    except MalformedSecret:
        raise MalformedSecret("access token") from None
    if checksum != _checksum(body):
        raise MalformedSecret("access token")


def access_token_digest(text: str) -> bytes:
    """Return the key by which an access token is looked up: the SHA-256 (32 bytes) of its whole text."""
    return digest(text)


def _checksum(body: str) -> str:
    return encode(sha256(body.encode("ascii")).digest()[:_CHECKSUM_BYTES])
