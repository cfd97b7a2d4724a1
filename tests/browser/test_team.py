"""A team that signs in at a certified provider, in Chromium: colleagues see and end each other's transfers, nobody else
does; and sign-out ends the provider's session, too.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from tests.acceptance.service import Installation, until
from tests.browser.chromium import close
from tests.browser.conftest import Site
from tests.browser.depositor import laid
from tests.browser.proxy import road
from tests.sign_in.people import NURSE, SECRET, Provider, provider_running

DOCTOR = NURSE | {"sub": "doctor", "name": "Omar Médecin"}
VIROLOGIST = NURSE | {"sub": "virologist", "name": "Eva Viro", "team": "virology"}
pytestmark = pytest.mark.external
AUDITOR = NURSE | {"sub": "auditor", "groups": ["auditors"], "name": "Ada Audit"}
NONE = {"fr": "Vous n’avez encore rien envoyé.", "en": "You have not sent anything yet."}
NEWEST = "#transfers .item:first-child .certificate:visible"
AS_PAGE = "url => fetch(url, {headers: {Accept: 'text/html'}}).then((it) => it.status)"
ELSEWHERE = {"fr": "par le navigateur ou le programme", "en": "by the browser or program"}


@dataclass(frozen=True)
class TeamSite(Site):
    """A service at which staff sign in at a provider."""

    provider: Provider


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with ExitStack() as stack:
        way = stack.enter_context(road())
        provider = stack.enter_context(provider_running(way.origin))
        installation = Installation(
            tmp_path_factory.mktemp("team"),
            PUBLIC_URL=way.origin,
            OIDC_ISSUER=provider.issuer,
            OIDC_CLIENT_ID="caducee",
            OIDC_CLIENT_SECRET=SECRET,
            OIDC_STAFF="depositors",
            OIDC_AUDITOR="auditors",
            OIDC_TEAM_CLAIM="team",
        )
        server = stack.enter_context(installation.serving())
        way.target = server.port
        staff = stack.enter_context(server.http(host=f"127.0.0.1:{way.port}"))
        yield TeamSite(installation, server, way, staff, provider)


@pytest.fixture
def member(site, new_depositor):
    """Sign people in at the provider, each in a browser of their own."""

    def sign_in(account, language):
        site.provider.does(account)
        return new_depositor(language, at_provider=True)

    return sign_in


def certified(person):
    """The newest transfer has a certificate, which opens."""
    person.list()
    if not person.page.locator(NEWEST).count():
        return False
    return person.page.evaluate(AS_PAGE, person.page.get_attribute(NEWEST, "href")) == 200


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_team_sees_its_transfers_and_nobody_else_does(site, member, tmp_path, language):
    nurse, doctor, stranger = (member(account, language) for account in (NURSE, DOCTOR, VIROLOGIST))
    nurse.choose(laid(tmp_path, a__csv=b"a;b\n"))
    nurse.address(["Agence A", "Agence B"], "Semaine 48")
    nurse.send()
    nurse.hand_over()

    # Another team: not in the list, and by its id as if it did not exist.
    nurse.list()
    transfer = nurse.page.get_attribute("#transfers .certificate", "href").split("/")[4]
    stranger.page.click("#nav-sent")
    stranger.page.locator("[data-view=sent] > [data-status]", has_text=NONE[language]).wait_for()
    asked = "path => fetch(path).then((it) => it.status)"
    for path in (f"/api/v1/transfers/{transfer}", f"/api/v1/transfers/{transfer}/receipt"):
        assert stranger.page.evaluate(asked, path) == 404

    # A colleague withdraws one share and is told where the other can be issued again.
    doctor.list()
    page = doctor.page
    assert "Semaine 48" in page.inner_text("#transfers")
    assert page.locator(".again:visible").count() == 0
    assert ELSEWHERE[language] in page.inner_text(".elsewhere:visible")
    assert doctor.barriers() == []
    page.locator(".withdraw:visible").first.click()
    page.click("#confirm-yes")
    page.wait_for_function("() => document.querySelectorAll('.withdraw:not([hidden])').length === 1")
    nurse.list()
    assert nurse.page.locator(".withdraw:visible").count() == 1
    assert nurse.page.locator(".again:visible").count() == 2, "it was sent here"

    # A colleague deletes it, and both have the certificate.
    page.click("#transfers .delete")
    page.click("#confirm-yes")
    page.wait_for_selector("#transfers .delete", state="hidden")
    site.installation.run("sweep")

    for person in (doctor, nurse):
        until(partial(certified, person), what="the certificate")
        assert person.page.locator(".again:visible").count() == 0
    address = page.get_attribute(NEWEST, "href")
    assert stranger.page.evaluate(AS_PAGE, address) == 404


def test_sign_out_leads_through_the_providers_and_back(site, member):
    """In a browser: Chromium follows where a script may lead it."""
    person = member(NURSE, "en")
    page = person.page
    page.click("#sign-out")
    page.click("#confirm-yes")
    page.wait_for_url(f"{site.provider.issuer}/session/end?*")
    assert person.page.request.get(f"{site.road.origin}/api/v1/me").status == 401, "ended before the provider is asked"
    page.click("button")
    page.wait_for_url(f"{site.road.origin}/sign-in?state=*")
    assert page.locator("[role=status]").count() == 0


def test_sign_out_by_a_form_leads_there_too(site, browser):
    """The house pages have no script, and their policy lets forms go nowhere else: Chromium would stop a redirect."""
    site.provider.does(AUDITOR)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.road.origin}/sign-in")
    page.click(".button")
    page.click("form[action='/sign-out'] button")
    page.wait_for_url(f"{site.provider.issuer}/session/end?*")
    page.click("button")
    page.wait_for_url(f"{site.road.origin}/sign-in?state=*")
    close(context)
