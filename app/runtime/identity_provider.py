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
from functools import cache
from time import monotonic
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
import structlog

from app.crypto.encoding import encode
from app.crypto.session_secret import SignInAttempt
from app.crypto.token import new_secret
from app.domain.errors import ProviderAnswerUnusable, ProviderOutOfReach, SignInRefused
from app.domain.sign_in import Claims
from app.runtime.provider_description import Description, unusable
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


class IdentityProvider:
    """The provider. Belongs to one process, and to the event loop that first uses it."""

    def __init__(self, settings: ProviderSettings, staff_origin: str) -> None:
        """`staff_origin`: the origin to which the provider sends browsers back."""
        self.issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        self._parties = Parties(self.issuer, self._client_id)
        self._secret = settings.oidc_client_secret
        self._acr = settings.oidc_acr
        self._redirect_uri = f"{staff_origin}/sign-in/callback"
        self._signed_out_uri = f"{staff_origin}/sign-in"
        self._has_logout = settings.oidc_logout
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
        return _with_query(description.authorization_endpoint, asked)

    async def sign_out_url(self, id_token: str | None) -> str | None:
        """Return the address to which a browser goes to sign out (OpenID Connect RP-Initiated Logout 1.0), None where
        the provider or the house has none. Without the ID token, most providers ask the person to confirm.

        Raises ProviderOutOfReach, ProviderAnswerUnusable.
        """
        if not self._has_logout:
            return None
        async with self._turn:
            endpoint = (await self._described()).end_session_endpoint
        if endpoint is None:
            return None
        # Nothing depends on the return, so the state is not kept; ProConnect requires one.
        asked = {
            "client_id": self._client_id,
            "post_logout_redirect_uri": self._signed_out_uri,
            "state": encode(new_secret()),
        }
        return _with_query(endpoint, asked if id_token is None else {**asked, "id_token_hint": id_token})

    async def redeem(self, code: str, attempt: SignInAttempt, now: int) -> tuple[Claims, str]:
        """Exchange a code for an ID token, and return its claims and the token itself.

        Raises SignInRefused, ProviderOutOfReach, ProviderAnswerUnusable.
        """
        async with self._turn:
            description = await self._described()
        async with self._exchanges:
            token = await self._exchanged(description, code, attempt)
        try:
            claims = await self._with_keys(
                lambda keys: id_token_claims(token, keys, self._parties, nonce=attempt.nonce, now=now)
            )
        except TokenRefused as error:
            log.warning("id_token_refused", check=str(error))
            raise SignInRefused from None
        return claims, token

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
                raise unusable("status")
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
            raise unusable("token")
        if status != 200:
            raise _not_redeemed(answer.get("error"))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise unusable("id_token")
        return token


def _with_query(endpoint: str, asked: dict[str, str]) -> str:
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"


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
    return unusable(named)


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
                    raise unusable("size")
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
