"""HTTP client of the service. Refusals are raised as `ServiceRefused` with the problem's code."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.client.errors import NotConfigured, ServiceRefused, ServiceUnavailable
from app.domain.network_address import protects_secrets

TIMEOUT_SECONDS = 60

_PASSING = frozenset({408, 423, 425, 429, 500, 502, 503, 504, 507})
"""Statuses after which a later attempt may succeed."""


_DIGITS = 10
"""A `Retry-After` with this many digits or more is ignored."""


def ask(http: httpx.Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    """Send a request and return the JSON of the response, empty if it has no body. Raises ServiceRefused."""
    answer = ask_for(http, method, path, **request)
    try:
        document: dict[str, Any] = answer.json() if answer.content else {}
    except ValueError:
        raise ServiceRefused(f"the service responded with {answer.status_code} and no JSON") from None
    return document


def ask_for(http: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """Send a request and return the response. Raises ServiceRefused, as ServiceUnavailable if it may pass."""
    try:
        answer = http.request(method, path, **request)
    except httpx.HTTPError as error:
        raise unreachable(error) from None
    if not answer.is_success:
        raise refused(answer)
    return answer


def unreachable(error: httpx.HTTPError) -> ServiceUnavailable:
    """Return the error for a server that did not respond."""
    return ServiceUnavailable(f"the service cannot be reached: {type(error).__name__}")


def refused(answer: httpx.Response) -> ServiceRefused:
    """Return the error for a refusal, with the problem's detail and code if the response has them."""
    kind = ServiceUnavailable if answer.status_code in _PASSING else ServiceRefused
    try:
        problem = answer.json()
        error = kind(f"{problem['detail']} ({problem['code']})", str(problem["code"]), answer.status_code)
        if isinstance(left := problem.get("attempts_left"), int):
            error.attempts_left = left
    except (ValueError, KeyError, TypeError):
        error = kind(f"the service responded with {answer.status_code}", status=answer.status_code)
    retry_after = answer.headers.get("Retry-After", "")
    if isinstance(error, ServiceUnavailable) and retry_after.isdecimal() and len(retry_after) < _DIGITS:
        error.retry_after_seconds = int(retry_after)
    return error


def connect(server: str, token: str | None = None) -> httpx.Client:
    """Return a client of a service, with an access token if one is given. Raises NotConfigured for what is no address,
    and for one without TLS that is not this machine.
    """
    if not protects_secrets(server):
        raise NotConfigured("the service's address must be https://host, without a path")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=server, headers=headers, timeout=TIMEOUT_SECONDS)


@dataclass(frozen=True)
class Service:
    """A service's origin, and the access token to use with it."""

    server: str
    token: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Service:
        """Read CADUCEE_SERVER and CADUCEE_TOKEN. Raises NotConfigured."""
        server, token = os.environ.get("CADUCEE_SERVER"), os.environ.get("CADUCEE_TOKEN")
        if not server or not token:
            raise NotConfigured("set CADUCEE_SERVER (https://...) and CADUCEE_TOKEN (cad_...)")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", token):
            raise NotConfigured(
                "CADUCEE_TOKEN contains a character that cannot be in a token, such as a no-break space: copy it again"
            )
        return cls(server.rstrip("/"), token)

    def connect(self) -> httpx.Client:
        """Return a client with the token. Raises NotConfigured."""
        return connect(self.server, self.token)
