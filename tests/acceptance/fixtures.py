"""What both folders of tests share: one server for all tests that do not need their own, and its people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import httpx
import pytest

from tests.acceptance.service import Installation, Server


@dataclass(frozen=True)
class House:
    """A running service with people who have accounts."""

    installation: Installation
    server: Server
    tokens: dict[str, str]


_OPEN: dict[str, House] = {}


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The shared service. Two folders ask for it; the first starts it, the end of the run stops it."""
    if "house" in _OPEN:
        yield _OPEN["house"]
        return
    with ExitStack() as stack:
        installation = Installation(
            tmp_path_factory.mktemp("house"),
            IDLE_TIMEOUT="2s",
            STALL_TIMEOUT="2s",
            MAX_TRANSFER_BYTES=str(8 * 1024 * 1024),
            PURPOSES="depistage,soins",
        )
        server = stack.enter_context(installation.serving())
        people = {"staff": "staff", "colleague": "staff", "auditor": "auditor", "admin": "admin"}
        tokens = {name: installation.token(role, name=name) for name, role in people.items()}
        _OPEN["house"] = House(installation, server, tokens)
        yield _OPEN["house"]
        del _OPEN["house"]


@pytest.fixture
def server(house: House) -> Server:
    """The shared server."""
    return house.server


@pytest.fixture
def staff(house: House) -> Iterator[httpx.Client]:
    """A depositor."""
    with house.server.http(house.tokens["staff"]) as client:
        yield client


@pytest.fixture
def colleague(house: House) -> Iterator[httpx.Client]:
    """Another depositor of the same house."""
    with house.server.http(house.tokens["colleague"]) as client:
        yield client


@pytest.fixture
def anyone(house: House) -> Iterator[httpx.Client]:
    """A recipient, or anybody else: no account. Keeps no cookies."""
    with house.server.http() as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


@pytest.fixture
def installation(tmp_path) -> Installation:
    """An installation of the test's own."""
    return Installation(tmp_path)
