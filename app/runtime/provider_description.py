"""What an identity provider says of itself: its endpoints, and what it supports (OpenID Connect Discovery, 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import structlog

from app.domain.errors import ProviderAnswerUnusable
from app.domain.network_address import is_loopback_origin, protects_secrets

LOGOUT = "end_session_endpoint"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Description:
    """What is used of a description. `end_session_endpoint`: where people sign out, None if nowhere."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None
    scope: str
    secret_in_body: bool
    takes_claims: bool

    @classmethod
    def parse(cls, document: object, issuer: str) -> Description:
        """Check a description. Raises ProviderAnswerUnusable."""
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise unusable("issuer")
        methods, scopes = document.get("token_endpoint_auth_methods_supported"), document.get("scopes_supported")
        return cls(
            authorization_endpoint=_place(document, "authorization_endpoint", issuer),
            token_endpoint=_place(document, "token_endpoint", issuer),
            jwks_uri=_place(document, "jwks_uri", issuer),
            end_session_endpoint=_place(document, LOGOUT, issuer) if document.get(LOGOUT) is not None else None,
            # Only a provider that announces `profile` takes it; it has `name` put into ID tokens.
            scope="openid profile" if isinstance(scopes, list) and "profile" in scopes else "openid",
            secret_in_body=isinstance(methods, list) and "client_secret_basic" not in methods,
            takes_claims=document.get("claims_parameter_supported") is True,
        )


def unusable(what: str) -> ProviderAnswerUnusable:
    """Log what of a response is unusable, as an alert, and return the refusal."""
    log.error("provider_answer_unusable", what=what, alert=True)
    return ProviderAnswerUnusable()


def _place(document: dict[str, object], name: str, issuer: str) -> str:
    """Return an endpoint: an address with TLS, or one on this machine if the issuer is there, too. A remote issuer
    could otherwise have this service send requests to its neighbours. Raises ProviderAnswerUnusable.
    """
    url = document.get(name)
    if not isinstance(url, str):
        raise unusable(name)
    origin = _origin_of(url)
    is_misplaced = is_loopback_origin(origin) and not is_loopback_origin(_origin_of(issuer))
    if is_misplaced or not protects_secrets(origin):
        raise unusable(name)
    return url


def _origin_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0]}"
