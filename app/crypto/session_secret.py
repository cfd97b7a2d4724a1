"""What is derived from the secrets of a browser's cookies, so that nothing but the digest of a secret is stored.

All values are HMAC-SHA256 under the secret (32 random bytes), of one label each.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.token import id_of, new_secret, same

SESSION_TOKEN = b"caducee/v1 session token"
STATE, NONCE, VERIFIER = b"caducee/v1 state", b"caducee/v1 nonce", b"caducee/v1 verifier"


def session_token(secret: bytes) -> str:
    """Return the token (43 characters) that a page sends with each request that changes something."""
    return encode(_derived(secret, SESSION_TOKEN))


def is_session_token(given: str, secret: bytes) -> bool:
    """Return whether this is the session's token, compared in constant time."""
    return _same_text(given, session_token(secret))


def pseudonym_of(subject: str, installation_id: str) -> str:
    """Return the pseudonym (22 characters) of a person in this installation's log: stable, and not to be reversed
    without a guess at issuer and subject.
    """
    return id_of(f"caducee/v1 person {installation_id} {subject}".encode())


@dataclass(frozen=True, slots=True, repr=False)
class SignInAttempt:
    """A sign-in under way at a provider: the secret of its cookie, and when it began (Unix seconds). Everything that
    the provider sees is derived from both, so a changed time fits no `state`.
    """

    secret: bytes
    begun_at: int

    @classmethod
    def begin(cls, begun_at: int) -> SignInAttempt:
        """Return a new attempt."""
        return cls(new_secret(), begun_at)

    @classmethod
    def from_cookie(cls, text: str) -> SignInAttempt:
        """Parse a cookie. Raises MalformedSecret."""
        secret, _, begun_at = text.partition(".")
        if not (begun_at.isascii() and begun_at.isdecimal() and len(begun_at) <= 12):
            raise MalformedSecret("cookie")
        return cls(decode(secret, length=32), int(begun_at))

    @property
    def cookie(self) -> str:
        """The value of the cookie."""
        return f"{encode(self.secret)}.{self.begun_at}"

    @property
    def state(self) -> str:
        """The `state` (RFC 6749, 10.12)."""
        return self._derived(STATE)

    @property
    def nonce(self) -> str:
        """The `nonce`, which the ID token repeats (OpenID Connect Core, 15.5.2)."""
        return self._derived(NONCE)

    @property
    def verifier(self) -> str:
        """The code verifier of PKCE (RFC 7636, 4.1)."""
        return self._derived(VERIFIER)

    @property
    def challenge(self) -> str:
        """The code challenge, method S256 (RFC 7636, 4.2)."""
        return encode(sha256(self.verifier.encode("ascii")).digest())

    def is_state(self, given: str) -> bool:
        """Return whether this is the attempt's state, compared in constant time."""
        return _same_text(given, self.state)

    def _derived(self, label: bytes) -> str:
        return encode(_derived(self.secret, label + b" " + str(self.begun_at).encode("ascii")))


def _derived(secret: bytes, label: bytes) -> bytes:
    return hmac.digest(secret, label, "sha256")


def _same_text(given: str, expected: str) -> bool:
    try:
        return same(given.encode("ascii"), expected.encode("ascii"))
    except UnicodeEncodeError:
        return False
