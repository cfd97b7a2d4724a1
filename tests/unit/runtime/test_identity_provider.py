"""What is accepted of a provider's description, and what its token endpoint's errors lead to."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.crypto.session_secret import SignInAttempt
from app.domain.errors import ProviderAnswerUnusable
from app.runtime import identity_provider
from app.runtime.identity_provider import MAX_EXCHANGES, IdentityProvider
from app.runtime.provider_description import LOGOUT, Description
from app.runtime.provider_settings import ProviderSettings

REMOTE, LOCAL = "https://login.example.org/realm", "http://127.0.0.1:9000"


def described(issuer, **changed):
    places = {name: f"{issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    return {"issuer": issuer} | places | changed


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", LOGOUT])
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/a",
        "https://127.0.0.1/a",
        "https://localhost./a",
        "https://[::1]?a",
        "http://a.example",
        7,
    ],
)
def test_a_remote_issuer_names_no_place_on_this_machine_and_none_without_tls(name, url):
    """Its document must not have this service send requests to its neighbours."""
    Description.parse(described(REMOTE), REMOTE)
    with capture_logs() as logs, pytest.raises(ProviderAnswerUnusable):
        Description.parse(described(REMOTE, **{name: url}), REMOTE)
    assert [entry["what"] for entry in logs] == [name]


def test_an_issuer_on_this_machine_names_places_here():
    found = Description.parse(described(LOCAL), LOCAL)
    assert (found.token_endpoint, found.end_session_endpoint) == (f"{LOCAL}/token_endpoint", None)


async def redeemed(provider, attempt):
    try:
        await provider.redeem("code", attempt, 0)
    except ProviderAnswerUnusable:
        return "unusable"


@pytest.mark.parametrize(("error", "alerts"), [("invalid_request", 0), ("invalid_client", 1)])
def test_an_error_that_a_visitor_can_provoke_raises_no_alert(monkeypatch, error, alerts):
    async def refused(asked, auth=None):
        return (200, described(LOCAL)) if asked.method == "GET" else (400, {"error": error})

    monkeypatch.setattr(identity_provider, "_sent", refused)
    provider = IdentityProvider(ProviderSettings.model_construct(oidc_issuer=LOCAL), "http://127.0.0.1")
    with capture_logs() as logs:
        assert asyncio.run(redeemed(provider, SignInAttempt(bytes(32), 0))) == "unusable"
    assert sum(bool(entry.get("alert")) for entry in logs) == alerts


def test_few_codes_are_exchanged_at_a_time(monkeypatch):
    running, most = 0, 0

    async def slow(asked, auth=None):
        nonlocal running, most
        if asked.method == "GET":
            return 200, described(LOCAL)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return 400, {"error": "invalid_request"}

    async def many():
        provider = IdentityProvider(ProviderSettings.model_construct(oidc_issuer=LOCAL), "http://127.0.0.1")
        attempt = SignInAttempt(bytes(32), 0)
        await asyncio.gather(*(redeemed(provider, attempt) for _ in range(3 * MAX_EXCHANGES)))

    monkeypatch.setattr(identity_provider, "_sent", slow)
    asyncio.run(many())
    assert most == MAX_EXCHANGES
