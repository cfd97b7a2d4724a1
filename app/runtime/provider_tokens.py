"""Checks the signed tokens of an identity provider: ID tokens and logout tokens.

ID tokens: OpenID Connect Core, 3.1.3.7. Logout tokens: OpenID Connect Back-Channel Logout, 2.6. A token must be signed
by one of the provider's published keys, with an asymmetric algorithm: a shared secret would let this service's own
configuration file sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jwt import JWTClaimsRegistry

from app.domain.sign_in import Claims

Key = RSAKey | ECKey

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
LEEWAY_SECONDS = 60
"""By how much the clocks of this host and the provider may differ."""

LOGOUT_MAX_AGE = timedelta(minutes=10)
"""A logout token is refused when it is older, so accepted ones need not be remembered for longer."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TYPE = "logout+jwt"
MAX_TOKEN_CHARS = 64 * 1024
MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Parties:
    """Who signs tokens, and for which client."""

    issuer: str
    client_id: str


class TokenRefused(Exception):
    """A provider's token that must not be believed. The text names the check, never what the token holds."""


class UnknownKey(TokenRefused):
    """The token names a key that the provider has not published, as far as this process knows."""


def public_keys(published: object) -> list[Key]:
    """Return the keys of a JWK set that may sign. Others in it, such as those for encryption, are left out."""
    listed = published.get("keys") if isinstance(published, dict) else None
    return [key for each in (listed if isinstance(listed, list) else []) if (key := _key(each)) is not None]


def _key(published: object) -> Key | None:
    if not isinstance(published, dict) or published.get("use", "sig") != "sig":
        return None
    try:
        key = _imported(published)
        short = isinstance(key, RSAKey) and key.public_key.key_size < MIN_RSA_BITS
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return None if short else key


def _imported(published: dict[str, Any]) -> Key | None:
    match published.get("kty"):
        case "RSA":
            return RSAKey.import_key(published)
        case "EC":
            return ECKey.import_key(published)
        case _:
            return None


def id_token_claims(token: str, keys: Sequence[Key], parties: Parties, *, nonce: str, now: int) -> Claims:
    """Return the claims of an ID token for this client and this sign-in. Raises TokenRefused, UnknownKey."""
    header, claims = _decoded(token, keys)
    if str(header.get("typ", "JWT")).lower() not in {"jwt", "id_token+jwt"}:
        raise TokenRefused("typ")
    _check(claims, now, iss=parties.issuer, aud=parties.client_id, nonce=nonce)
    _require_party(claims, parties.client_id)
    return claims


def logout_token_claims(token: str, keys: Sequence[Key], parties: Parties, *, now: int) -> Claims:
    """Return the claims of a logout token for this client. Its `jti` is a string; that it is new is for the caller to
    check. Raises TokenRefused, UnknownKey.
    """
    header, claims = _decoded(token, keys)
    if str(header.get("typ", "")).lower().removeprefix("application/") != LOGOUT_TYPE:
        raise TokenRefused("typ")
    _check(claims, now, iss=parties.issuer, aud=parties.client_id)
    if claims["iat"] < now - LOGOUT_MAX_AGE.total_seconds():
        raise TokenRefused("iat")
    events, jti = claims.get("events"), claims.get("jti")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise TokenRefused("events")
    if not isinstance(jti, str) or not jti:
        raise TokenRefused("jti")
    if "nonce" in claims:  # an ID token in disguise
        raise TokenRefused("nonce")
    if not any(isinstance(claims.get(name), str) and claims[name] for name in ("sub", "sid")):
        raise TokenRefused("sub")
    return claims


def _decoded(token: str, keys: Sequence[Key]) -> tuple[Claims, Claims]:
    """Return header and claims of a token whose signature is right."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise TokenRefused("form")
    try:
        kid = jws.extract_compact(token.encode("ascii")).headers().get("kid")
        candidates = [key for key in keys if kid is None or key.kid == kid]
        if not candidates:
            raise UnknownKey("kid")
        if len(candidates) > 1:
            raise TokenRefused("kid")  # the token must say which
        decoded = jwt.decode(token, candidates[0], algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise TokenRefused(type(error).__name__) from None
    return decoded.header, decoded.claims


def _check(claims: Claims, now: int, **expected: str) -> None:
    """Check times, and that each expected claim is there with its value."""
    options: dict[str, Any] = {name: {"essential": True, "value": value} for name, value in expected.items()}
    options |= {name: {"essential": True} for name in ("exp", "iat")}
    try:
        JWTClaimsRegistry(now=now, leeway=LEEWAY_SECONDS, **options).validate(dict(claims))
    except JoseError as error:
        raise TokenRefused(getattr(error, "claim", type(error).__name__)) from None
    for name in expected.keys() - {"aud"}:  # the registry also accepts a list that holds the value
        if claims[name] != expected[name]:
            raise TokenRefused(name)


def _require_party(claims: Claims, client_id: str) -> None:
    """Refuse a token that another client asked for, though this one is among its audiences (`azp`)."""
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", None if len(set(audiences)) > 1 else client_id) != client_id:
        raise TokenRefused("azp")
