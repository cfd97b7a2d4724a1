"""The two sides of a transfer over HTTP, as small as a script would write them: a depositor and a recipient."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from tests.acceptance.independent_client import link_proof, to_bytes, to_text


@dataclass(frozen=True)
class Share:
    """A link and its password, as the depositor got them once."""

    transfer_id: str
    client_key: str
    id: str
    link: str
    password: str

    @property
    def secret(self) -> str:
        """The link's secret, from its fragment."""
        return self.link.partition("#")[2]

    @property
    def proof(self) -> str:
        """The link's proof."""
        return to_text(link_proof(to_bytes(self.secret)))

    @property
    def basic(self) -> httpx.BasicAuth:
        """Link and password as the one-line route takes them."""
        return httpx.BasicAuth("link", f"{self.secret}.{self.password}")


@dataclass(frozen=True)
class Claim:
    """A claim that was won."""

    http: httpx.Client
    id: str
    token: str
    answer: dict[str, Any]

    def get(self, path: str = "files/0", method: str = "GET", **headers: str) -> httpx.Response:
        """Fetch below the claim. Headers by name, `if_range="..."`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, f"/api/v1/claims/{self.id}/{path}", headers=bearer(self.token) | named)

    def complete(self) -> httpx.Response:
        """Say that everything has arrived."""
        return self.http.post(f"/api/v1/claims/{self.id}/complete", headers=bearer(self.token))


def bearer(token: str) -> dict[str, str]:
    """The header for a token."""
    return {"Authorization": f"Bearer {token}"}


def key_header(client_key: str) -> dict[str, str]:
    """The header for a client key."""
    return {"Caducee-Client-Key": client_key}


def ok(answer: httpx.Response, status: int) -> Any:
    """The answer's JSON; another status fails the test with what the server said."""
    assert answer.status_code == status, f"{answer.status_code}, not {status}: {answer.text[:500]}"
    return answer.json() if answer.content else None


def send(http: httpx.Client, content: Any = b"content", name: str = "a.bin", **asked: Any) -> Share:
    """Deposit one file and issue one share, in the one-line way."""
    asked = {"recipient": "CPAM 75", "expires_in": "1h"} | asked
    answer = ok(http.put(f"/api/v1/send/{name}", params=asked, content=content), 201)
    return Share(answer["transfer_id"], answer["client_key"], answer["share_id"], answer["link"], answer["password"])


def open_transfer(http: httpx.Client, **asked: Any) -> tuple[str, str]:
    """An open transfer: its id and client key."""
    answer = ok(http.post("/api/v1/transfers", json={"expires_in": "1h"} | asked), 201)
    return answer["id"], answer["client_key"]


def add_file(
    http: httpx.Client, transfer: str, key: str, content: Any, name: str = "a.bin", *, allow_empty: bool = False
) -> httpx.Response:
    """Stream a file into a transfer."""
    query = "?allow_empty=true" if allow_empty else ""
    return http.put(f"/api/v1/transfers/{transfer}/files/{name}{query}", content=content, headers=key_header(key))


def issue(http: httpx.Client, transfer: str, key: str, recipient: str = "CPAM 75") -> Share:
    """Issue a share of a transfer."""
    path = f"/api/v1/transfers/{transfer}/shares"
    answer = ok(http.post(path, json={"recipient": recipient}, headers=key_header(key)), 201)
    return Share(transfer, key, answer["share_id"], answer["link"], answer["password"])


def try_claim(http: httpx.Client, share: Share, **instead: Any) -> httpx.Response:
    """Try to claim with link and password, or with what is given `instead` (None leaves a member out)."""
    body = {"link_secret": share.secret, "password": share.password} | instead
    body = {name: value for name, value in body.items() if value is not None}
    return http.post(f"/api/v1/shares/{share.id}/claim", json=body)


def claim(http: httpx.Client, share: Share, **instead: Any) -> Claim:
    """Claim, successfully."""
    answer = ok(try_claim(http, share, **instead), 200)
    return Claim(http, answer["claim_id"], answer["claim_token"], answer)


def look(http: httpx.Client, share: Share) -> dict[str, Any]:
    """What the holder of the link may know."""
    seen: dict[str, Any] = ok(http.post(f"/api/v1/shares/{share.id}/look", json={"link_proof": share.proof}), 200)
    return seen


def wrong_password() -> str:
    """A well-formed password that is not the right one."""
    return "".join(secrets.choice("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for _ in range(16))


def wrong_secret() -> str:
    """A well-formed 32-byte secret that opens nothing."""
    return to_text(secrets.token_bytes(32))
