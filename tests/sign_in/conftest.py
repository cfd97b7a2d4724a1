"""The provider, and the service that trusts it."""

import asyncio
from contextlib import contextmanager

import httpx
import pytest
from fastapi.testclient import TestClient

from app.actions import sweep as sweeping
from app.actions.issue_access_token import issue_access_token
from app.crypto.token import new_id
from app.domain.access_token import Role
from app.domain.audience import Audience
from app.main import create_app
from app.runtime.installation import open_resources
from app.runtime.settings import Settings
from tests.attacks.inside import Inside
from tests.sign_in.people import SECRET, STAFF, Browser, change, provider_running


@pytest.fixture(scope="session")
def provider():
    with provider_running() as provider:
        yield provider


@contextmanager
def serving(folder, **changes):
    """The application with settings of its own."""
    settings = Settings(
        data_dir=folder, argon2_time=1, argon2_memory_kib=64, argon2_lanes=1, min_free_bytes=0, **changes
    )
    resources = open_resources(settings)
    asyncio.run(sweeping.sweep(resources))
    app = create_app(Audience.ALL, settings=settings, resources=resources)
    with TestClient(app, base_url=settings.staff_origin, raise_server_exceptions=False) as http:
        yield Inside(app, resources, http)
    resources.close()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request):
    """The setting of an empty database; SQLite lies in the service's folder."""
    if request.param == "sqlite":
        yield {}
        return
    server = request.getfixturevalue("postgres_server")
    url = server.create()
    yield {"database_url": url}
    server.drop(url)


@pytest.fixture(scope="module")
def opened(provider, database, tmp_path_factory):
    """A service that lets the provider's depositors, auditors and administrators in."""
    with serving(
        tmp_path_factory.mktemp("service"),
        **database,
        staff_url=STAFF,
        oidc_issuer=provider.issuer,
        oidc_client_id="caducee",
        oidc_client_secret=SECRET,
        oidc_staff=("depositors",),
        oidc_auditor=("auditors",),
        oidc_admin=("admins",),
    ) as inside:
        yield inside


@pytest.fixture
def service(opened, provider):
    """That service, with its own settings, nothing fetched, and nobody signed in."""
    settings = opened.resources.settings
    provider.does()
    change(opened.resources)
    yield opened
    change(opened.resources, **settings.model_dump())
    opened.http.cookies.clear()


@pytest.fixture
def browser(service):
    with httpx.Client(follow_redirects=False) as at_provider:
        yield Browser(service.http, at_provider)


@pytest.fixture(scope="module")
def by_token(database, tmp_path_factory):
    """A service without a provider."""
    with serving(tmp_path_factory.mktemp("by-token"), **database, staff_url=STAFF) as inside:
        yield inside


@pytest.fixture
def nurse(by_token):
    """A browser in which somebody signed in with a token of role admin, which reaches every route."""
    by_token.http.cookies.clear()
    with httpx.Client() as nowhere:
        browser = Browser(by_token.http, nowhere)
        browser.token = issue_access_token(by_token.resources, name=f"nurse {new_id()}", role=Role.ADMIN, lifetime=None)
        assert browser.post("/sign-in", {"token": browser.token.token}).status_code == 303
        yield browser
