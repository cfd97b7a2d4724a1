"""The identity provider of this service's settings, spoken to over HTTP: its description, its keys, its token endpoint.

Every response is bounded in time and size, redirects are not followed, and nothing from a response is logged except an
OAuth error code. What was fetched is kept for a while; after a failure nothing is fetched for FAILED_SECONDS, so that
visitors of the sign-in page cannot make the service send requests to the provider continuously.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
import structlog

from app.crypto.session_secret import SignInAttempt
from app.domain.errors import ProviderAnswerUnusable, ProviderOutOfReach, SignInRefused
from app.domain.network_address import is_loopback_origin, protects_secrets
from app.domain.sign_in import Claims
from app.runtime.provider_settings import ProviderSettings
from app.runtime.provider_tokens import (
    Key,
    Parties,
    TokenRefused,
    UnknownKey,
    id_token_claims,
    logout_token_claims,
    public_keys,
)

ANSWER_SECONDS = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
MAX_EXCHANGES = 4
"""Codes exchanged at a time: visitors choose how many arrive."""

DESCRIPTION_SECONDS, KEYS_SECONDS = 3600.0, 600.0
NEW_KEYS_SECONDS, FAILED_SECONDS = 30.0, 5.0
"""How long a description and keys are kept; how soon keys are fetched again for a token that names an unknown one; and
how long the provider is left alone after a failure.
"""

_OAUTH_ERROR = re.compile(r"[a-z_]{1,60}", re.ASCII)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Description:
    """What is used of a provider's description (OpenID Connect Discovery, 3)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    scope: str
    secret_in_body: bool
    takes_claims: bool

    @classmethod
    def parse(cls, document: object, issuer: str) -> Description:
        """Check a description. Raises ProviderAnswerUnusable."""
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise _unusable("issuer")
        methods, scopes = document.get("token_endpoint_auth_methods_supported"), document.get("scopes_supported")
        return cls(
            authorization_endpoint=_place(document, "authorization_endpoint", issuer),
            token_endpoint=_place(document, "token_endpoint", issuer),
            jwks_uri=_place(document, "jwks_uri", issuer),
            # Only a provider that announces `profile` takes it; it has `name` put into ID tokens.
            scope="openid profile" if isinstance(scopes, list) and "profile" in scopes else "openid",
            secret_in_body=isinstance(methods, list) and "client_secret_basic" not in methods,
            takes_claims=document.get("claims_parameter_supported") is True,
        )


class IdentityProvider:
    """The provider. Belongs to one process, and to the event loop that first uses it."""

    def __init__(self, settings: ProviderSettings, redirect_uri: str) -> None:
        """`redirect_uri`: where the provider sends browsers back to."""
        self.issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        self._parties = Parties(self.issuer, self._client_id)
        self._secret = settings.oidc_client_secret
        self._acr = settings.oidc_acr
        self._redirect_uri = redirect_uri
        self._description: tuple[float, Description] | None = None
        self._keys: tuple[float, list[Key]] = (float("-inf"), [])
        self._failed_at = float("-inf")
        self._turn = asyncio.Lock()
        self._exchanges = asyncio.Semaphore(MAX_EXCHANGES)

    async def sign_in_url(self, attempt: SignInAttempt) -> str:
        """Return the address to which a browser goes to sign in. Raises ProviderOutOfReach, ProviderAnswerUnusable."""
        async with self._turn:
            description = await self._described()
        asked = {
            "client_id": self._client_id,
            "response_type": "code",
            "response_mode": "query",
            "redirect_uri": self._redirect_uri,
            "scope": description.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        if self._acr:
            asked["acr_values"] = " ".join(self._acr)
            if description.takes_claims:
                asked["claims"] = json.dumps({"id_token": {"acr": None, "amr": None}}, separators=(",", ":"))
        joined = "&" if "?" in description.authorization_endpoint else "?"
        return f"{description.authorization_endpoint}{joined}{urlencode(asked)}"

    async def redeem(self, code: str, attempt: SignInAttempt, now: int) -> Claims:
        """Exchange a code for an ID token, and return its claims.

        Raises SignInRefused, ProviderOutOfReach, ProviderAnswerUnusable.
        """
        async with self._turn:
            description = await self._described()
        async with self._exchanges:
            token = await self._exchanged(description, code, attempt)
        try:
            return await self._with_keys(
                lambda keys: id_token_claims(token, keys, self._parties, nonce=attempt.nonce, now=now)
            )
        except TokenRefused as error:
            log.warning("id_token_refused", check=str(error))
            raise SignInRefused from None

    async def logout_claims(self, token: str, now: int) -> Claims:
        """Return the claims of a logout token. Raises TokenRefused, ProviderOutOfReach, ProviderAnswerUnusable."""
        return await self._with_keys(lambda keys: logout_token_claims(token, keys, self._parties, now=now))

    async def _with_keys(self, check: Any) -> Claims:
        """Check a token with the provider's keys, and once more with new ones if it names an unknown key."""
        claims: Claims
        try:
            claims = check(await self._fetched_keys(KEYS_SECONDS))
        except UnknownKey:
            claims = check(await self._fetched_keys(NEW_KEYS_SECONDS))
        return claims

    async def _fetched_keys(self, max_age: float) -> list[Key]:
        async with self._turn:
            fetched_at, keys = self._keys
            if monotonic() - fetched_at >= max_age:
                keys = public_keys(await self._get((await self._described()).jwks_uri))
                self._keys = (monotonic(), keys)
            return keys

    async def _described(self) -> Description:
        """Return the provider's description. The caller holds the turn."""
        if self._description is None or monotonic() - self._description[0] >= DESCRIPTION_SECONDS:
            document = await self._get(f"{self.issuer.removesuffix('/')}/.well-known/openid-configuration")
            self._description = (monotonic(), Description.parse(document, self.issuer))
        return self._description[1]

    async def _get(self, url: str) -> object:
        if monotonic() - self._failed_at < FAILED_SECONDS:
            raise ProviderOutOfReach
        try:
            status, answer = await _sent(httpx.Request("GET", url, headers={"Accept": "application/json"}))
            if status != 200:
                raise _unusable("status")
        except (ProviderOutOfReach, ProviderAnswerUnusable):
            self._failed_at = monotonic()
            raise
        return answer

    async def _exchanged(self, description: Description, code: str, attempt: SignInAttempt) -> str:
        secret = self._secret.get_secret_value() if self._secret else ""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        auth = None
        if description.secret_in_body:
            form |= {"client_id": self._client_id, "client_secret": secret}
        else:
            auth = httpx.BasicAuth(quote_plus(self._client_id), quote_plus(secret))  # RFC 6749, 2.3.1
        asked = httpx.Request("POST", description.token_endpoint, data=form, headers={"Accept": "application/json"})
        status, answer = await _sent(asked, auth)
        if not isinstance(answer, dict):
            raise _unusable("token")
        if status != 200:
            raise _not_redeemed(answer.get("error"))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _unusable("id_token")
        return token


def _not_redeemed(error: object) -> Exception:
    """Return the refusal for an error of the token endpoint: a code that is used or too old, or a wrong setting. A
    visitor's malformed code can provoke `invalid_request`, which therefore raises no alert.
    """
    if error == "invalid_grant":
        return SignInRefused()
    if error == "invalid_request":
        log.warning("code_exchange_invalid", error=error)
        return ProviderAnswerUnusable()
    named = error if isinstance(error, str) and _OAUTH_ERROR.fullmatch(error) else "unknown"
    return _unusable(named)


def _unusable(what: str) -> ProviderAnswerUnusable:
    log.error("provider_answer_unusable", what=what, alert=True)
    return ProviderAnswerUnusable()


async def _sent(asked: httpx.Request, auth: httpx.Auth | None = None) -> tuple[int, object]:
    """Send a request. Return the status, and the body parsed as JSON, None if it is none.

    Raises ProviderOutOfReach, also for a status of 500 or more; ProviderAnswerUnusable for a body that is too long.
    """
    body = bytearray()
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            httpx.AsyncClient(verify=_trust(), timeout=ANSWER_SECONDS) as client,
        ):
            answer = await client.send(asked, auth=auth, stream=True)
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise _unusable("size")
            await answer.aclose()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        log.error("provider_out_of_reach", error=type(error).__name__, alert=True)
        raise ProviderOutOfReach from None
    if answer.status_code >= 500:
        log.error("provider_out_of_reach", error=str(answer.status_code), alert=True)
        raise ProviderOutOfReach
    try:
        return answer.status_code, json.loads(bytes(body))
    except (ValueError, RecursionError):
        return answer.status_code, None


@cache
def _trust() -> ssl.SSLContext:
    """Return the authorities that are trusted; `SSL_CERT_FILE` names others. Read once: it takes tens of ms."""
    return httpx.create_ssl_context()


def _place(document: dict[str, object], name: str, issuer: str) -> str:
    """Return an endpoint: an address with TLS, or one on this machine if the issuer is there, too. A remote issuer
    could otherwise have this service send requests to its neighbours. Raises ProviderAnswerUnusable.
    """
    url = document.get(name)
    if not isinstance(url, str):
        raise _unusable(name)
    origin = _origin_of(url)
    is_misplaced = is_loopback_origin(origin) and not is_loopback_origin(_origin_of(issuer))
    if is_misplaced or not protects_secrets(origin):
        raise _unusable(name)
    return url


def _origin_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0]}"
