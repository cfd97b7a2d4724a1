"""A certified provider in a process of its own, and a browser that walks between it and the application."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from app.actions.issue_access_token import IssuedToken
from app.runtime.identity_provider import IdentityProvider
from app.runtime.resources import Resources

HERE = Path(__file__).parent
STAFF = "http://127.0.0.1:8000"
SECRET = "a secret that the service and the provider share"
NAVIGATION = {
    "Accept": "text/html,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
NURSE = {"sub": "nurse", "groups": ["depositors", "canteen"], "team": "biology", "name": "Nadia Nurse"}


@dataclass
class Provider:
    """The provider, and what it does next."""

    issuer: str

    def does(self, account: dict[str, Any] | None = None, **more: Any) -> None:
        """Sign in this account from now on, and misbehave as `provider.js` says."""
        httpx.put(f"{self.issuer}/test", json={"account": account or NURSE, **more}).raise_for_status()

    def rotate_keys(self) -> None:
        """Sign with a new key, and publish no other."""
        httpx.post(f"{self.issuer}/test/rotate").raise_for_status()

    def logout_token(self, sub: str, sid: str) -> str:
        """What the provider would send to the back channel."""
        return httpx.get(f"{self.issuer}/test/logout", params={"sub": sub, "sid": sid}).raise_for_status().text


@contextmanager
def provider_running(staff_origin: str = STAFF) -> Iterator[Provider]:
    """Start the provider of a service. Skips loudly without node, or fails under CADUCEE_REQUIRE_ALL=1."""
    if not (HERE / "node_modules" / "oidc-provider").exists() and shutil.which("npm"):
        subprocess.run(["npm", "ci", "--silent", "--prefix", str(HERE)], check=False, capture_output=True, timeout=300)
    if not (HERE / "node_modules" / "oidc-provider").exists():
        said = "NO OPENID PROVIDER HERE, sign-in was not tested: node and npm are needed"
        (pytest.fail if os.environ.get("CADUCEE_REQUIRE_ALL") == "1" else pytest.skip)(said)
    command = ["node", str(HERE / "provider.js"), f"{staff_origin}/sign-in/callback"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield Provider(process.stdout.readline().strip())
        finally:
            process.kill()


@dataclass
class Browser:
    """A browser: one cookie jar for the service, one for the provider."""

    service: TestClient
    provider: httpx.Client
    token: IssuedToken | None = None

    def get(self, path: str, **headers: str) -> httpx.Response:
        answer: httpx.Response = self.service.get(path, headers=NAVIGATION | headers, follow_redirects=False)
        return answer

    def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        sent = NAVIGATION | headers
        answer: httpx.Response = self.service.post(path, data=form, headers=sent, follow_redirects=False)
        return answer

    def to_provider(self) -> str:
        """Begin a sign-in; return the address at the provider."""
        begun = self.get("/sign-in/start")
        assert begun.status_code == 303, begun.text
        return str(begun.headers["location"])

    def back_from_provider(self, address: str) -> str:
        """Walk through the provider's pages; return the address it sends the browser back to."""
        for _ in range(10):
            answer = self.provider.get(address)
            assert answer.is_redirect, answer.text
            address = str(httpx.URL(address).join(answer.headers["location"]))
            if address.startswith(STAFF):
                return address.removeprefix(STAFF)
        raise AssertionError(address)

    def sign_in(self) -> httpx.Response:
        """The whole walk; return the service's answer to the callback."""
        return self.get(self.back_from_provider(self.to_provider()), **{"Sec-Fetch-Site": "cross-site"})

    def sign_out_at_provider(self, address: str) -> str:
        """Say yes at the provider's sign-out; return the address it sends the browser back to."""
        asked = self.provider.get(address)
        assert asked.status_code == 200, asked.text
        secret = asked.text.partition('name="xsrf" value="')[2].partition('"')[0]
        confirming = f"{address.partition('?')[0]}/confirm"
        answer = self.provider.post(confirming, data={"xsrf": secret, "logout": "yes"})
        return str(answer.headers["location"]).removeprefix(STAFF)

    def me(self) -> httpx.Response:
        answer: httpx.Response = self.service.get("/api/v1/me", headers={"Sec-Fetch-Site": "same-origin"})
        return answer

    def page_headers(self) -> dict[str, str]:
        """What the service's own page sends with a request that changes something."""
        return {"Sec-Fetch-Site": "same-origin", "Caducee-Session-Token": self.me().json()["session"]["token"]}


def change(resources: Resources, **settings: Any) -> None:
    """Change settings of an opened installation, which forgets what it fetched from the provider."""
    changed = resources.settings.model_copy(update=settings)
    object.__setattr__(resources, "settings", changed)
    if changed.oidc_issuer:
        object.__setattr__(resources, "provider", IdentityProvider(changed, STAFF))


def scope_of(request: httpx.Request) -> dict[str, Any]:
    """What an ASGI server would pass to the application, for a test that sends or receives piece by piece."""
    return {
        "type": "http",
        "method": request.method,
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
    }


def code_of(page: httpx.Response) -> str:
    """The code on a refusal's page."""
    return page.text.partition("Code: ")[2].partition("<")[0]


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def entries_of(resources: Resources, event: str) -> list[dict[str, Any]]:
    """The log's entries of an event."""
    with resources.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT content FROM audit_entries ORDER BY sequence").fetchall()
    return [entry for (content,) in rows if (entry := json.loads(content))["event"] == event]
