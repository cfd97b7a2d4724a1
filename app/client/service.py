"""The service as a program sees it over HTTP. Refusals come back as `ServiceRefused` with the problem's code."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

TIMEOUT_SECONDS = 60


class NotConfigured(Exception):
    """CADUCEE_SERVER or CADUCEE_TOKEN is missing."""


class ServiceRefused(Exception):
    """The service refused, with the problem's `code`, or could not be reached (None)."""

    def __init__(self, told: str, code: str | None = None) -> None:
        """What to tell a person; nothing that was sent is in it."""
        super().__init__(told)
        self.code = code


def ask(http: httpx.Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    """One request to the server that `http` knows; the answer's JSON, empty without a body. Raises ServiceRefused."""
    try:
        answer = http.request(method, path, **request)
    except httpx.HTTPError as error:
        raise unreachable(error) from None
    if not answer.is_success:
        raise refused(answer)
    document: dict[str, Any] = answer.json() if answer.content else {}
    return document


def unreachable(error: httpx.HTTPError) -> ServiceRefused:
    """The server did not answer."""
    return ServiceRefused(f"the service cannot be reached: {type(error).__name__}")


def refused(answer: httpx.Response) -> ServiceRefused:
    """The server's refusal, in its own words if they can be read."""
    try:
        problem = answer.json()
        return ServiceRefused(f"{problem['detail']} ({problem['code']})", str(problem["code"]))
    except (ValueError, KeyError, TypeError):
        return ServiceRefused(f"the service answered {answer.status_code}")


@dataclass(frozen=True)
class Service:
    """One service, and the access token to use with it."""

    server: str
    token: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Service:
        """From CADUCEE_SERVER and CADUCEE_TOKEN. Raises NotConfigured."""
        server, token = os.environ.get("CADUCEE_SERVER"), os.environ.get("CADUCEE_TOKEN")
        if not server or not token:
            raise NotConfigured("set CADUCEE_SERVER (https://...) and CADUCEE_TOKEN (cad_...)")
        return cls(server.rstrip("/"), token)

    def issue_share(self, transfer_id: str, *, recipient: str, client_key: str) -> dict[str, Any]:
        """Issue a share: `{share_id, link, password, expires_at}`. Raises ServiceRefused."""
        return self._call(
            "POST",
            f"/api/v1/transfers/{quote(transfer_id, safe='')}/shares",
            json={"recipient": recipient},
            client_key=client_key,
        )

    def _call(self, method: str, path: str, *, json: object, client_key: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Caducee-Client-Key": client_key}
        with httpx.Client(base_url=self.server, headers=headers, timeout=TIMEOUT_SECONDS) as http:
            return ask(http, method, path, json=json)
