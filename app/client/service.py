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
    """The service refused, or could not be reached."""


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
        try:
            answer = httpx.request(method, self.server + path, json=json, headers=headers, timeout=TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise ServiceRefused(f"{self.server} cannot be reached: {type(error).__name__}") from error
        if answer.is_success:
            document: dict[str, Any] = answer.json()
            return document
        raise ServiceRefused(_told(answer))


def _told(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return f"{problem['detail']} ({problem['code']})"
    except (ValueError, KeyError, TypeError):
        return f"the service answered {answer.status_code}"
