"""The list of what was sent: over several pages, what is due, and what was sent by other ways than the page."""

import subprocess
from statistics import median
from time import perf_counter

import pytest

from app.db.engine import Database
from bench.listing import add_transfers
from tests.acceptance.people import add_file, claim, issue, ok, open_transfer
from tests.browser.depositor import Depositor, fetched, laid

PAGE = 25
DUE = {"fr": "Pas récupéré, et se termine sous 24 heures", "en": "Not fetched, and ends within 24 hours"}
ELSEWHERE = {"fr": "par le navigateur ou le programme", "en": "by the browser or program"}
RESTS = "count => document.querySelectorAll('#transfers[aria-busy=false] .item').length === count"


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """The command line keeps its state here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def titles(person, count):
    """The titles in the list, once it has come to rest with so many."""
    person.page.wait_for_function(RESTS, arg=count)
    return person.page.locator("#transfers .item h2").all_inner_texts()


def status(person):
    return person.page.inner_text("[data-view=sent] > [data-status]").replace("\u2068", "").replace("\u2069", "")


def due(person):
    """The titles of those that are marked, and the marks."""
    items = person.page.locator("#transfers .item:has(.due:not([hidden]))")
    return [each.inner_text() for each in items.locator("h2").all()], items.locator(".due").all_inner_texts()


def test_what_is_due_is_marked_and_found_on_any_page(site, new_depositor):
    """G7: a recipient who has not fetched a day before the end is seen in time, also far down the list."""
    person = new_depositor("fr")
    with site.server.http(person.token, host=f"127.0.0.1:{site.road.port}") as staff:
        for label, lifetime in (("pris", "23h"), ("à rappeler", "23h"), ("à temps", "25h")):
            transfer = open_transfer(staff, label=label, expires_in=lifetime)
            ok(add_file(staff, *transfer, b"x"), 201)
            share = issue(staff, *transfer, "ARS Bretagne")
            if label == "pris":
                claim(staff, share)
        person.list()
        assert titles(person, 3) == ["à temps", "à rappeler", "pris"]
        assert due(person) == (["à rappeler"], [DUE["fr"]])
        person.page.click("#language")
        person.page.wait_for_function("() => document.documentElement.lang === 'en'")
        assert due(person) == (["à rappeler"], [DUE["en"]])
        for number in range(PAGE + 10):
            ok(staff.post("/api/v1/transfers", json={"label": f"other {number}"}), 201)

    person.list()
    assert "à rappeler" not in titles(person, PAGE)
    assert status(person) == f"The latest {PAGE} transfers"
    person.page.click("#more")
    assert titles(person, PAGE + 13)[-4:] == ["other 0", "à temps", "à rappeler", "pris"]
    person.list()
    titles(person, PAGE)
    person.page.locator("#search").press_sequentially("rappeler")
    assert titles(person, 1) == ["à rappeler"], "read once, however many keys were pressed meanwhile"
    assert status(person) == "1 transfer"
    person.page.fill("#search", "ars b")
    assert titles(person, 3) == ["à temps", "à rappeler", "pris"]
    person.page.select_option("#show", "due")
    assert titles(person, 1) == ["à rappeler"]
    person.page.select_option("#show", "fetched")
    assert titles(person, 1) == ["pris"]
    person.page.fill("#search", "")
    person.page.select_option("#show", "all")
    titles(person, PAGE + 13)
    assert status(person) == f"{PAGE + 13} transfers"
    assert person.barriers() == []


def test_the_list_by_keyboard_alone(site, new_depositor):
    """The focus stays where the person is, though each action draws the list anew."""
    person = new_depositor()
    page = person.page
    with site.server.http(person.token, host=f"127.0.0.1:{site.road.port}") as staff:
        transfer = open_transfer(staff, label="Week 48")
        ok(add_file(staff, *transfer, b"x"), 201)
        for recipient in ("ARS", "CPAM 75"):
            issue(staff, *transfer, recipient)

    def press(selector, key="Enter"):
        for _ in range(25):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return page.keyboard.press(key)
        raise AssertionError(f"Tab does not reach {selector}")

    def focus_on(selector, text):
        page.locator(f"{selector}:focus", has_text=text).wait_for()

    press("#nav-sent")
    titles(person, 1)
    press("#search", "W")
    press("#show", "ArrowDown")
    titles(person, 1)
    press(".withdraw")
    page.wait_for_selector("#confirm[open]")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className").endswith("withdraw")
    page.keyboard.press("Enter")
    press("#confirm-yes")
    focus_on(".share", "Withdrawn")
    assert "ARS" in page.inner_text(":focus")
    press(".delete")
    press("#confirm-yes")
    focus_on("h1", "Sent")  # it has ended, and the filter shows only what waits
    assert person.barriers() == []


def test_a_list_that_cannot_be_read_is_not_called_empty(new_depositor):
    person = new_depositor()
    person.page.route("**/api/v1/transfers?*", lambda route: route.abort())
    person.page.click("#nav-sent")
    person.page.locator("[data-view=sent] > [data-notice]", has_text="cannot be reached").wait_for()
    assert status(person) == ""


@pytest.mark.parametrize("language", ["fr", pytest.param("en", marks=pytest.mark.external)])
def test_what_programs_sent_is_listed_and_withdrawn_by_the_page(site, new_depositor, tmp_path, language):
    """By `caducee send` and by curl, with the token that signed in; their keys are not in this browser."""
    person = new_depositor(language)
    (path,) = laid(tmp_path, a__csv=b"a;b\n")
    connected = {"SERVER": site.road.origin, "TOKEN": person.token}
    sent = site.installation.run("send", str(path), "--to", "By send", "--json", **connected).json
    curl = ["curl", "-sS", "-H", f"Authorization: Bearer {person.token}", "-T", str(path)]
    address = f"{site.road.origin}/api/v1/send/a.csv?recipient=By%20curl"
    assert b'"link"' in subprocess.run([*curl, address], check=True, capture_output=True).stdout
    person.list()
    page = person.page
    assert page.locator("#transfers .recipient").all_inner_texts() == ["By curl", "By send"]
    assert page.locator(".again:visible").count() == 0
    told = page.locator(".elsewhere:visible").all_inner_texts()
    assert [ELSEWHERE[language] in each for each in told] == [True, True]
    assert person.barriers() == []
    for _ in range(2):
        before = page.locator(".withdraw:visible").count()
        page.locator(".withdraw:visible").first.click()
        page.click("#confirm-yes")
        page.wait_for_function("n => document.querySelectorAll('.withdraw:not([hidden])').length < n", arg=before)
    listed = site.installation.run("sent", "--json", **connected).json["transfers"]
    assert {share["state"] for each in listed for share in each["shares"]} == {"withdrawn"}
    (own,) = [each for each in listed if each["id"] == sent["transfer_id"]]
    assert [share["id"] for share in own["shares"]] == [share["share_id"] for share in sent["shares"]]


def test_curl_does_not_redeem_what_the_page_sealed(new_depositor, site, tmp_path):
    """It cannot decrypt: it says what can, and the link still works."""
    person = new_depositor()
    person.choose(laid(tmp_path, a__csv=b"a;b\n"))
    person.address(["CPAM 75"])
    person.send()
    (shown,) = person.shown()
    place, _, secret = shown.link.partition("#")
    address = place.replace("/s/", "/api/v1/shares/") + "/content"
    login = f"link:{secret}.{shown.password}"
    curl = ["curl", "-sS", "-X", "POST", "-u", login, "-w", "%{http_code}", address]
    refused = subprocess.run(curl, check=True, capture_output=True, text=True).stdout
    assert refused.endswith("409")
    assert '"transfer_is_sealed"' in refused
    assert fetched(site.installation, shown, tmp_path) == {"a.csv": b"a;b\n"}


SHOWN_AFTER = """() => new Promise((resolve) => {
  const list = document.getElementById("transfers");
  list.ariaBusy = null;
  const began = performance.now();
  new MutationObserver((_, observer) => {
    if (list.ariaBusy !== "false") return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
  }).observe(list, { attributes: true });
  location.hash = "#sent";
})"""


@pytest.mark.acceptance
def test_ten_thousand_transfers_are_shown_within_five_times_none(site, new_depositor):
    """In turns: from the click to the first page on the screen; and every one of them is found."""
    many = new_depositor(token=site.installation.token(name="many"))
    none = new_depositor()
    database = Database(f"sqlite:///{site.installation.database}")
    add_transfers(database, "many", 10_000)
    database.close()
    taken: list[tuple[Depositor, list[float]]] = [(many, []), (none, [])]
    for _ in range(15):
        for person, times in taken:
            person.page.evaluate("location.hash = '#send'")
            person.sees("form")
            times.append(person.page.evaluate(SHOWN_AFTER))
    shown, empty = (median(times) for _, times in taken)
    print(f"10,000 transfers shown after {shown:.0f} ms, none after {empty:.0f} ms: {shown / empty:.1f} times")
    assert shown < 5 * empty
    started = perf_counter()
    many.page.fill("#search", "agence a")
    many.page.locator("[data-view=sent] > [data-status]", has_text="10,000").wait_for(timeout=60_000)
    print(f"a search through all of them: {perf_counter() - started:.1f} s")
