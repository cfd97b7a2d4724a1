"""One browser and one service for each module: Playwright's loop must not outlive the tests that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.acceptance.service import Installation, Server
from tests.browser.chromium import axe_source, chromium, close, program
from tests.browser.depositor import Depositor
from tests.browser.proxy import Road, road
from tests.browser.reader import Reader

LOCALES = {"fr": "fr-FR", "en": "en-GB"}
ORDER = count()


@dataclass(frozen=True)
class Site:
    """A service as its recipients reach it: by a road that can be cut."""

    installation: Installation
    server: Server
    road: Road
    staff: httpx.Client


@pytest.fixture(scope="session")
def executable() -> str:
    """Chromium."""
    return program()


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's source."""
    return axe_source()


@pytest.fixture(scope="module")
def browser(executable: str) -> Iterator[Browser]:
    """A browser."""
    with chromium(executable) as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running service behind a road."""
    with ExitStack() as stack:
        way = stack.enter_context(road())
        installation = Installation(
            tmp_path_factory.mktemp("site"),
            PUBLIC_URL=way.origin,
            ORGANISATION="Hôpital des Essais",
            CONTACT="01 99 00 12 34",
        )
        server = stack.enter_context(installation.serving())
        way.target = server.port
        staff = stack.enter_context(server.http(installation.token(), host=f"127.0.0.1:{way.port}"))
        yield Site(installation, server, way, staff)


@pytest.fixture
def new_reader(browser: Browser, axe: str) -> Iterator[Callable[..., Reader]]:
    """Make readers, each with a browser profile of their own unless one is given. Their scripts must not fail."""
    readers, contexts = [], []

    def make(language: str = "en", **options: object) -> Reader:
        context = browser.new_context(locale=LOCALES[language], **options)  # type: ignore[arg-type]
        contexts.append(context)
        readers.append(Reader.in_tab_of(context, axe))
        return readers[-1]

    yield make
    for context in contexts:
        close(context)
    assert [fault for reader in readers for fault in reader.faults] == []


@pytest.fixture
def new_depositor(browser: Browser, site: Site, axe: str) -> Iterator[Callable[..., Depositor]]:
    """Make people who are signed in, each with a token of their own unless one is given, or `at_provider`. Their
    scripts must not fail.
    """
    people: list[Depositor] = []
    contexts: list[BrowserContext] = []

    def make(
        language: str = "en",
        token: str = "",
        context: BrowserContext | None = None,
        *,
        at_provider: bool = False,
        **options: object,
    ) -> Depositor:
        if context is None:
            permissions = ["clipboard-read", "clipboard-write"]
            context = browser.new_context(locale=LOCALES[language], permissions=permissions, **options)  # type: ignore[arg-type]
            contexts.append(context)
        people.append(person := Depositor.in_tab_of(context, axe))
        if at_provider:
            person.sign_in_at_provider(site.road.origin, language)
        else:
            person.token = token or site.installation.token(name=f"Laboratoire {next(ORDER)}")
            person.sign_in(site.road.origin, person.token, language)
        return person

    yield make
    for context in contexts:
        close(context)
    assert [fault for person in people for fault in person.faults] == []


@pytest.fixture
def reader(new_reader: Callable[..., Reader]) -> Reader:
    """Somebody who reads English."""
    return new_reader()
