"""The house pages in Chromium: an auditor's way through every view, on a desk and a phone, by mouse and by keyboard."""

import json

import pytest

from tests.acceptance.people import claim, ok, send
from tests.acceptance.service import until
from tests.browser.conftest import LOCALES
from tests.browser.reader import Reader
from tests.browser.test_audit_pages import CLIPPED, LONG
from tests.marks import in_test_all

LOOKS = {
    "fr": {"color_scheme": "light", "viewport": {"width": 320, "height": 700}},
    "en": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
}
TITLES = {
    "retention": ("Conservation", "Retention"),
    "exposure": ("Exposition", "Exposure"),
    "deliveries": ("Remises", "Deliveries"),
    "log": ("Journal", "Log"),
    "receipts": ("Reçus", "Receipts"),
    "checkpoint": ("Point de contrôle", "Checkpoint"),
}
LANGUAGES = ["fr", "en"]


@pytest.fixture(scope="module")
def story(site):
    """A transfer whose deletion is verified and signed, one that was fetched, and a checkpoint that was kept before."""
    with site.server.http(host=site.road.origin.partition("//")[2]) as anyone:
        held = claim(anyone, send(site.staff, recipient="<b>CNR Lyon</b>"))
        held.get()
    note = site.installation.run("audit", "checkpoint", "--json").json["note"]
    transfer = send(site.staff, recipient=LONG).transfer_id
    ok(site.staff.delete(f"/api/v1/transfers/{transfer}"), 204)
    until(lambda: site.staff.get(f"/api/v1/transfers/{transfer}/receipt").status_code == 200, what="a receipt")
    return {"kept": note, "transfer": transfer}


class Auditor(Reader):
    """A tab of the house pages."""

    def sign_in(self, token):
        self.page.fill("#token", token)
        self.page.press("#token", "Enter")

    def at(self, view, language):
        """The view is shown, in the language, without a barrier, and fits the screen."""
        heading = self.page.locator("h1")
        assert heading.inner_text() == TITLES[view][LANGUAGES.index(language)]
        assert self.page.locator(f'[aria-current=page][href^="/house/{view}?"]').count() == 1
        self.is_sound(view)

    def is_sound(self, what):
        assert self.page.evaluate("document.scripts.length") == 0
        assert self.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, what
        assert self.page.evaluate(CLIPPED.replace("input, ", "")) == [], what
        assert self.barriers() == [], what

    def choose(self, view):
        self.page.click(f'nav a[href^="/house/{view}"]')

    def saved(self, name):
        with self.page.expect_download() as download:
            self.page.click(f'a[download][href*="save={name}"]')
        return download.value.suggested_filename, download.value.path().read_text("utf-8")


@pytest.fixture
def new_auditor(browser, axe, site):
    contexts, people = [], []

    def make(language, **options):
        contexts.append(browser.new_context(locale=LOCALES[language], **options))
        people.append(Auditor.in_tab_of(contexts[-1], axe))
        return people[-1]

    yield make
    for context in contexts:
        context.close()
    assert [fault for person in people for fault in person.faults] == []


@pytest.mark.parametrize("language", ["fr", in_test_all("en")])
def test_an_auditor_goes_through_every_view(new_auditor, site, story, language):
    """From a bookmark over the sign-in to each view and state, and back."""
    auditor = new_auditor(language, **LOOKS[language])
    page = auditor.page
    page.goto(f"{site.road.origin}/house/log?event=share.claimed&lang={language}")
    auditor.is_sound("signed out")
    page.click("a.button")
    auditor.sign_in(site.installation.token("auditor", name=f"Déléguée à la protection des données ({language})"))
    page.wait_for_url("**/house/log?event=share.claimed*")
    auditor.at("log", language)
    assert page.locator("table.log tbody tr").count() == 1, "the filter of the bookmark"

    auditor.choose("retention")
    auditor.at("retention", language)
    assert page.locator("table.bars").count() == 2
    name, kept = auditor.saved("json")
    assert (name[:10], json.loads(kept)["exit_code"]) == ("retention-", 0)
    name, kept = auditor.saved("html")
    assert (name[-5:], "<link" in kept) == (".html", False)

    for view in ("exposure", "deliveries"):
        auditor.choose(view)
        auditor.at(view, language)
        page.fill("#to", "2020-01-01T00:00")
        page.click("main button")
        auditor.at(view, language)
        assert page.get_attribute("#to", "aria-invalid") == "true"
        page.fill("#to", "")
        page.click("main button")
        auditor.at(view, language)
        assert page.locator(".verdict").count() == 1
    assert page.get_by_text("<b>CNR Lyon</b>").count() == 1
    page.go_back()
    assert page.get_attribute("#to", "aria-invalid") == "true", "the back button leads to the state before"

    auditor.choose("log")
    page.select_option("#event", "transfer.deleted")
    page.click("main button")
    auditor.at("log", language)
    page.click("table.log tbody td:nth-of-type(5) a")
    assert page.input_value("#transfer") == story["transfer"]
    auditor.at("log", language)
    page.click(f'main p > a[href^="/house/receipts?transfer={story["transfer"]}"]')
    auditor.at("receipts", language)
    assert auditor.saved("receipt")[1].startswith("c2sp.org/tlog-proof@v1\n")
    assert auditor.saved("certificate")[0] == f"certificate-{story['transfer']}.html"
    page.fill("#transfer", "A" * 22)
    page.press("#transfer", "Enter")
    auditor.at("receipts", language)
    assert page.locator("#wrong").count() == 1

    auditor.choose("checkpoint")
    auditor.at("checkpoint", language)
    assert "\n\n— " in auditor.saved("note")[1]
    page.fill("#kept", "> a mail\r\n")
    page.click("main button")
    auditor.at("checkpoint", language)
    page.fill("#kept", "\r\n  " + story["kept"].replace("\n", "\r\n\t"))
    page.click("main button")
    auditor.at("checkpoint", language)
    assert page.locator(".verdict:not(.bad)").count() == 1, "line ends and indentation make no difference"
    with page.expect_download() as export:
        page.goto(f"{site.road.origin}/house/checkpoint?lang={language}")
        page.click('a[href="/house/export"]')
    assert export.value.suggested_filename == "caducee-log.jsonl"

    page.click("a.language")
    assert page.locator("h1").inner_text() == TITLES["checkpoint"][1 - LANGUAGES.index(language)]
    page.click(".leave button")
    page.wait_for_url("**/sign-in")


def test_a_session_that_ends_comes_back_to_the_same_filters(new_auditor, site, story):
    """Two tabs: one signs out, the other asks to sign in, and shows the same entries afterwards."""
    auditor = new_auditor("en")
    page, token = auditor.page, site.installation.token("auditor")
    page.goto(f"{site.road.origin}/house")
    page.click("a.button")
    auditor.sign_in(token)
    page.wait_for_url("**/house")
    other = page.context.new_page()
    other.goto(f"{site.road.origin}/house/log")
    other.fill("#transfer", story["transfer"])
    page.click(".leave button")
    page.wait_for_url("**/sign-in")
    other.press("#transfer", "Enter")
    other.click("a.button")
    other.fill("#token", token)
    other.press("#token", "Enter")
    other.wait_for_url("**/house/log?*")
    assert other.input_value("#transfer") == story["transfer"]
    assert other.locator("table.log tbody tr").count() > 3


def test_the_keyboard_alone_reaches_a_filter(new_auditor, site, story):
    """The first link skips to the content; the navigation and the form follow in order."""
    auditor = new_auditor("fr")
    page = auditor.page
    page.goto(f"{site.road.origin}/house/log")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    auditor.sign_in(site.installation.token("auditor"))
    page.wait_for_url("**/house/log*")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "event"
    page.keyboard.press("Tab")
    page.keyboard.type(story["transfer"])
    page.keyboard.press("Enter")
    page.wait_for_url("**transfer=*")
    assert page.locator("table.log tbody tr").count() > 3
