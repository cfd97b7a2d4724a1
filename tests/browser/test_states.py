"""Every state of the page, in both languages: what it says, that axe-core finds no barrier, where the focus is.

The states are reached as recipients reach them, except those that only a broken service would give.
"""

import pytest

from tests.acceptance.people import add_file, claim, issue, ok, open_transfer, send, wrong_password
from tests.acceptance.service import until
from tests.browser.reader import refusing
from tests.marks import in_test_all

LANGUAGES = ["fr", "en"]
ONE_LANGUAGE = ["fr", in_test_all("en")]
GONE_WITH_WORDS = {
    "used": ("Ce lien a déjà servi", "This link has already been used"),
    "completed": ("Ces fichiers ont déjà été reçus", "These files have already been received"),
    "withdrawn": ("Ce lien a été révoqué", "This link was withdrawn"),
    "locked": ("Ce lien est bloqué", "This link is locked"),
    "unknown": ("Ce lien n’ouvre rien", "This link opens nothing"),
}


def checked(reader, language, view, title=None):
    """The state is the one shown, alone, speaks the language, has the focus, and no barrier."""
    shown = reader.sees(view)
    heading = shown.locator("h1")
    assert heading.inner_text()
    assert title is None or heading.inner_text() == title[LANGUAGES.index(language)]
    assert reader.page.evaluate("document.documentElement.lang") == language
    assert view == "loading" or heading.evaluate("it => it === document.activeElement"), f"{view}: focus"
    assert reader.page.title().endswith("Hôpital des Essais")
    assert reader.barriers() == [], view
    return shown


def two_files(site, **asked):
    transfer, key = open_transfer(site.staff, label="Résultats du 24 novembre", **asked)
    for name, body in (("résultats.csv", b"a;b\n" * 1000), ("notice.pdf", b"%PDF")):
        ok(add_file(site.staff, transfer, key, body, name), 201)
    return issue(site.staff, transfer, key)


@pytest.mark.parametrize(("language", "colours"), [("fr", "light"), ("en", "dark")])
def test_the_way_through(site, new_reader, language, colours):
    """Link, password, files, received, deleted; and the wrong password on the way."""
    reader = new_reader(language, color_scheme=colours)
    share = two_files(site)
    reader.open(share)
    view = checked(reader, language, "ready", ("Des fichiers vous attendent", "Files are waiting for you"))
    assert "Résultats du 24 novembre" in view.inner_text()
    assert "Hôpital des Essais" in view.inner_text()

    reader.claim(wrong_password(), "ready")
    error = reader.page.locator("#password-error")
    error.filter(has_text="4").wait_for()
    assert reader.page.locator("[data-value=attempts]").inner_text() == "4"
    assert reader.page.locator("#password").get_attribute("aria-invalid") == "true"
    assert reader.barriers() == []

    reader.claim(share.password)
    view = checked(reader, language, "files", ("Vos fichiers", "Your files"))
    assert "résultats.csv" in view.inner_text()
    assert {"fr": "4 octets", "en": "4 bytes"}[language] in view.inner_text().replace("\u00a0", " ")
    assert reader.fetch(0) == b"a;b\n" * 1000
    reader.received(0)
    assert reader.barriers() == []
    reader.page.click("#finish")
    assert reader.page.evaluate("document.activeElement.id") == "confirm-title"
    assert "1" in reader.page.inner_text("#missing")
    assert reader.barriers() == []
    reader.page.keyboard.press("Escape")
    assert reader.page.evaluate("document.activeElement.id") == "finish"
    assert reader.fetch(1) == b"%PDF"
    reader.received(1)
    reader.finish()
    checked(reader, language, "done", ("C’est terminé, merci", "All done, thank you"))


@pytest.fixture(scope="module")
def ended(site):
    """A link that ended, for each way of ending."""
    links = {name: send(site.staff, name="a.txt") for name in GONE_WITH_WORDS}
    claim(site.staff, links["used"])
    ok(claim(site.staff, links["completed"]).complete(), 204)
    ok(site.staff.delete(f"/api/v1/shares/{links['withdrawn'].id}"), 204)
    for _ in range(5):
        body = {"link_secret": links["locked"].secret, "password": wrong_password()}
        site.staff.post(f"/api/v1/shares/{links['locked'].id}/claim", json=body)
    links["unknown"] = send(site.staff)
    links["unknown"] = type(links["unknown"])("", "", "A" * 22, f"{site.road.origin}/s/{'A' * 22}#{'A' * 43}", "")
    return links


@pytest.mark.parametrize("language", ONE_LANGUAGE)
def test_links_that_open_nothing_say_why_and_whom_to_call(site, ended, new_reader, language):
    reader = new_reader(language)
    for name, title in GONE_WITH_WORDS.items():
        reader.page.goto("about:blank")
        reader.open(ended[name], name)
        view = checked(reader, language, name, title)
        assert "01 99 00 12 34" in view.inner_text()
        if name in {"used", "completed"}:
            assert "202" in view.locator("p").first.inner_text(), "when it was used"
        assert reader.kept()["records"] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_link_whose_window_has_closed_says_so(site, ended, new_reader, language):
    """An hour is too long for a test: the state alone is changed in the service's answer."""
    reader = new_reader(language)

    def lapsed(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "state": "lapsed"})

    reader.page.route("**/look", lapsed)
    reader.open(ended["used"], "lapsed")
    view = checked(reader, language, "lapsed", ("L’accès s’est refermé", "Access has closed"))
    assert "202" in view.locator("p").first.inner_text()


@pytest.mark.parametrize("language", ONE_LANGUAGE)
def test_what_is_no_link_or_gets_no_answer(site, new_reader, language):
    """Without its secret, without a connection, and whatever the service may refuse with."""
    reader = new_reader(language)
    share = send(site.staff)
    reader.page.goto(share.link.partition("#")[0])
    checked(reader, language, "incomplete")
    reader.page.goto("about:blank")

    reader.page.route("**/look", lambda route: route.abort())
    reader.open(share, "offline")
    checked(reader, language, "offline", ("Pas de connexion", "No connection"))
    refusals = {
        "busy": "busy",
        "database_unavailable": "busy",
        "locked_down": "stopped",
        "clock_not_trusted": "stopped",
        "database_rolled_back": "stopped",
        "host_not_allowed": "refused",
    }
    for code, view in refusals.items():
        reader.page.unroute("**/look")
        reader.page.route("**/look", refusing(code, 400 if view == "refused" else 503))
        with reader.page.expect_response("**/look"):  # else the view of the try before could be taken for this one's
            reader.page.click("[data-view]:not([hidden]) [data-retry]")
        checked(reader, language, view)
    assert "host_not_allowed" in reader.page.inner_text("[data-view=refused]")
    reader.page.unroute("**/look")
    reader.page.click("[data-view]:not([hidden]) [data-retry]")
    checked(reader, language, "ready")


@pytest.mark.parametrize("language", ONE_LANGUAGE)
@pytest.mark.parametrize("fail", [lambda route: route.abort(), lambda route: None], ids=["fails", "hangs"])
def test_without_its_catalogue_the_page_keeps_its_words_and_the_link(site, new_reader, language, fail):
    """What came with the page stays to be read, and the next try needs no link."""
    reader = new_reader(language)
    reader.page.route(f"**/assets/{language}.json", fail)
    reader.open(send(site.staff), "busy")
    view = checked(reader, language, "busy", ("Le service ne peut pas répondre", "The service cannot answer"))
    assert all(words.strip() for words in view.locator("[data-t]").all_inner_texts())
    reader.page.unroute(f"**/assets/{language}.json")
    reader.page.click("[data-view=busy] [data-retry]")
    checked(reader, language, "ready")


def test_a_claim_that_gets_no_answer_can_be_repeated(site, reader):
    """The answer is lost, not the claim: the same token, kept before the first try, gets it again."""
    share = send(site.staff, b"once")
    reader.open(share)
    reader.page.route("**/claim", lambda route: (route.fetch(), route.abort()))
    reader.claim(share.password, "ready")
    reader.page.locator("#password-error", has_text="nothing is lost").wait_for()
    reader.page.unroute("**/claim")
    reader.page.goto("about:blank")
    reader.open(share)
    assert reader.page.is_visible("#again")
    reader.claim(share.password)
    assert reader.fetch() == b"once"


def test_lockdown_is_told_and_redeems_nothing(site, reader):
    share = send(site.staff)
    reader.open(share)
    site.installation.run("lockdown", "on")
    try:
        reader.claim(share.password, "stopped")
        assert "used nothing up" in reader.page.inner_text("[data-view=stopped]")
    finally:
        site.installation.run("lockdown", "off")
    reader.page.click("[data-view=stopped] [data-retry]")
    reader.sees("ready")
    reader.claim(share.password)


def test_a_claim_that_gets_no_answer_can_be_repeated_where_nothing_is_kept(site, reader):
    """The token is kept in memory at least: in the same tab, nothing is lost."""
    reader.page.context.add_init_script("IDBFactory.prototype.open = () => { throw new Error('denied'); };")
    share = send(site.staff, b"once")
    reader.open(share)
    reader.page.route("**/claim", lambda route: (route.fetch(), route.abort()), times=1)
    reader.claim(share.password, "ready")
    reader.page.locator("#password-error", has_text="nothing is lost").wait_for()
    reader.claim(share.password)
    assert reader.fetch() == b"once"


def test_after_the_claim_lockdown_and_trouble_are_told_as_they_are(site, reader):
    """A reload has no link in hand: the claim that was kept is asked for, and nothing says that nothing was used."""
    share = send(site.staff, b"still there")
    reader.open(share)
    reader.claim(share.password)
    site.installation.run("lockdown", "on")
    try:
        reader.page.reload()
        reader.sees("stopped")
    finally:
        site.installation.run("lockdown", "off")
    reader.page.route("**/blobs/0", refusing("busy"))
    reader.page.reload()
    assert "used up" not in reader.sees("busy").inner_text()
    reader.page.unroute("**/blobs/0")
    reader.page.click("[data-view=busy] [data-retry]")
    reader.sees("files")
    assert reader.fetch() == b"still there"


def test_after_the_claim_a_link_in_hand_tells_why_it_ended(site, reader):
    """The claim alone says that it has ended; the link says that somebody withdrew it."""
    share = send(site.staff)
    reader.open(share)
    reader.claim(share.password)
    ok(site.staff.delete(f"/api/v1/shares/{share.id}"), 204)
    reader.page.goto("about:blank")
    reader.open(share, "withdrawn")
    assert reader.kept()["records"] == []


def test_after_the_claim_an_end_without_a_reason_is_told_as_an_end(site, reader):
    """The claim has ended for certain; that the look fails does not make it a matter of the connection."""
    share = send(site.staff)
    reader.open(share)
    reader.claim(share.password)
    ok(site.staff.delete(f"/api/v1/shares/{share.id}"), 204)
    reader.page.goto("about:blank")
    reader.page.route("**/look", lambda route: route.abort())
    reader.open(share, "over")


def test_the_last_wrong_password_locks(site, reader):
    share = send(site.staff)
    reader.open(share)
    for left in (4, 3, 2, 1):
        reader.claim(wrong_password(), "ready")
        reader.page.locator("#password-error", has_text=str(left)).wait_for()
    assert "locked for good" in reader.page.inner_text("#password-error")
    reader.claim(wrong_password(), "locked")


def test_a_malformed_password_costs_nothing(site, reader):
    share = send(site.staff)
    reader.open(share)
    for typed, told in (("", "Enter"), ("ABCD", "you entered 4"), ("U" * 16, "never part"), ("é" * 16, "never part")):
        reader.claim(typed, "ready")
        assert told in reader.page.inner_text("#password-error")
        assert reader.page.evaluate("document.activeElement.id") == "password"
    assert reader.page.locator("[data-value=attempts]").inner_text() == "5"


def test_an_expired_link_says_since_when(site, new_reader):
    share = send(site.staff, expires_in="1s")
    readers = [new_reader(language) for language in LANGUAGES]
    until(lambda: site.staff.get(f"/api/v1/transfers/{share.transfer_id}").json()["state"] == "verified")
    for reader, language in zip(readers, LANGUAGES, strict=True):
        reader.open(share, "expired")
        view = checked(reader, language, "expired", ("Ce lien a expiré", "This link has expired"))
        assert "202" in view.inner_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_javascript_the_page_explains_the_line_to_type(site, new_reader, language):
    reader = new_reader(language, java_script_enabled=False)
    reader.page.goto(send(site.staff).link)
    shown = reader.page.inner_text("main")
    assert "curl --fail -OJ -u" in shown, "a refusal must not become a file"
    assert f"{site.road.origin}/api/v1/shares/" in shown
    assert {"fr": "Cette page a besoin de JavaScript", "en": "This page needs JavaScript"}[language] in shown
    assert reader.page.is_hidden("[data-view=loading]")


def test_the_switch_changes_everything_in_place(site, new_reader):
    """In the middle of things, also sentences that were put in later; nothing is asked or typed again."""
    reader = new_reader("en")
    share = two_files(site)
    reader.open(share)
    reader.claim(wrong_password(), "ready")
    reader.page.locator("#password-error", has_text="4 attempts").wait_for()
    reader.page.fill("#password", "half typed")
    reader.page.click("#language")
    reader.page.locator("h1", has_text="Des fichiers vous attendent").wait_for()
    assert reader.page.input_value("#password") == "half typed"
    assert reader.page.url.endswith(f"/s/{share.id}?lang=fr")
    reader.claim(share.password)
    reader.page.click("#language")
    reader.page.locator("button", has_text="Download").first.wait_for()
    assert "Télécharger" not in reader.page.inner_text("main")
    reader.page.reload()
    assert "Your files" in reader.sees("files").inner_text()


def test_by_keyboard_alone(site, reader):
    """Tab and Enter from link to deletion, with a visible focus on everything that takes it."""
    share = send(site.staff, b"by keyboard", name="a.txt")
    reader.open(share)

    def tab_to(selector):
        for _ in range(12):
            reader.page.keyboard.press("Tab")
            if reader.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = reader.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", selector
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_to("#password")
    reader.page.keyboard.type(share.password.lower().replace("-", " "))
    tab_to("#claim button")
    reader.page.keyboard.press("Enter")
    reader.sees("files")
    tab_to("#fetch-0")
    with reader.page.expect_download():
        reader.page.keyboard.press("Enter")
    reader.received(0)
    reader.page.wait_for_function("document.activeElement.id === 'fetch-0'")
    tab_to("#finish")
    reader.page.keyboard.press("Enter")
    tab_to("#confirm-yes")
    reader.page.keyboard.press("Space")
    reader.sees("done")


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_cut_off_on_a_phone_or_at_four_times_the_size(site, new_reader, width):
    """320 CSS pixels are a small phone, and a laptop at 400% (WCAG 1.4.10)."""
    reader = new_reader("fr", viewport={"width": width, "height": 640})
    share = two_files(site)
    reader.open(share)
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
    reader.claim(share.password)
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
    small = reader.page.evaluate(
        "[...document.querySelectorAll('button')].filter((it) => it.checkVisibility() && it.offsetHeight < 44).length"
    )
    assert small == 0


def test_nothing_moves_for_those_who_asked_for_that(site, new_reader):
    reader = new_reader("en", reduced_motion="reduce")
    reader.open(send(site.staff))
    reader.page.hover("#claim button")
    assert reader.page.evaluate("getComputedStyle(document.querySelector('#claim button')).transitionDuration") == "0s"


def test_progress_is_seen_in_forced_colours(site, new_reader):
    """Half done looks different from nothing done where the system chooses the colours."""
    reader = new_reader("en", forced_colors="active")
    reader.open(two_files(site))
    reader.page.evaluate(
        """() => {
          const bar = document.getElementById("file").content.querySelector("progress").cloneNode();
          document.querySelector("main").append(bar);
        }"""
    )
    bar = reader.page.locator("main > progress")
    empty = bar.screenshot()
    bar.evaluate("it => (it.value = 0.5)")
    assert bar.screenshot() != empty


def test_head_of_the_page_and_its_assets(site):
    """As link checkers and proxies ask: the same headers, no body."""
    for path in ("/s/x", "/s/assets/receive.js", "/s/assets/fr.json"):
        head, get = site.staff.head(path), site.staff.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
        assert head.headers.get("content-security-policy") == get.headers.get("content-security-policy")


def test_headers_of_what_may_run(site):
    """Lesson 32; a strict policy, and no origin but our own."""
    page = site.staff.get("/s/x")
    policy = page.headers["content-security-policy"]
    assert "require-trusted-types-for 'script'; trusted-types caducee" in policy
    assert "unsafe" not in policy
    assert "data:" not in policy
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "style=" not in page.text
    worker = site.staff.get("/s/assets/sw.js")
    assert worker.headers["service-worker-allowed"] == "/s/"
    assert site.staff.get("/s/save/x").status_code == 404
