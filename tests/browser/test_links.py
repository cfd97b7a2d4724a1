"""Links as mail programs leave them; the page of the bare address; what is shown before the password.

Lesson 48: `#` becomes `%23` (SkySend #68), a no-break space trails the link (opencode #620).
"""

import pytest

from app.client.sealed_transfer import SealedTransfer
from app.domain.file_meta import FileMeta
from tests.acceptance.people import add_file, issue, ok, open_transfer, send
from tests.browser.test_states import checked
from tests.marks import first

ADDRESSES = {
    "as it is": "{page}#{secret}",
    "%23": "{page}%23{secret}",
    "%2523": "{page}%2523{secret}",
    "slash": "{page}/#{secret}",
    "slash and %23": "{page}/%23{secret}",
    "bracket": "{page}#{secret}>",
    "quote": '{page}#{secret}"',
    "no-break space": "{page}#{secret}\u00a0",
    "no-break space before the sign": "{page}\u00a0#{secret}",
    "zero-width space": "{page}#{secret}\u200b",
    "encoded space": "{page}#{secret}%20",
    "language": "{page}?lang=fr#{secret}",
    "language and %23": "{page}?lang=fr%23{secret}",
    "capital": "{capital}#{secret}",
}
INCOMPLETE = {"cut": "{page}#{cut}", "cut, %23": "{page}%23{cut}", "no secret": "{page}", "empty": "{page}#"}
DAMAGED = "{short}#{secret}"


def written(form, share):
    page = share.link.partition("#")[0]
    return form.format(
        page=page, short=page[:-1], capital=page.replace("/s/", "/S/"), secret=share.secret, cut=share.secret[:-5]
    )


@pytest.mark.parametrize("form", first(4, ADDRESSES.values()), ids=ADDRESSES)
def test_an_address_is_read_and_the_secret_leaves_the_bar_and_the_tabs_session(site, reader, form):
    share = send(site.staff, b"found")
    reader.page.goto(written(form, share))
    reader.sees("ready")
    assert reader.page.url.partition("?")[0] == share.link.partition("#")[0]
    assert reader.page.url.partition("?")[2] in {"", "lang=fr"}
    assert share.secret not in str(reader.kept())
    reader.claim(share.password)
    assert reader.fetch() == b"found"


def test_a_damaged_id_is_named_as_the_part_at_fault(site, reader):
    """In the address, and pasted; the secret leaves the bar all the same."""
    share = send(site.staff)
    reader.page.goto(written(DAMAGED, share))
    view = reader.sees("incomplete")
    assert "between /s/ and # is damaged" in view.inner_text()
    assert "after the # sign" not in view.inner_text()
    assert share.secret not in reader.page.url
    paste(reader, written(DAMAGED, share))
    view.locator(".error", has_text="between /s/ and # is damaged").wait_for()
    paste(reader, share.link)
    reader.sees("ready")


@pytest.mark.parametrize("form", INCOMPLETE.values(), ids=INCOMPLETE)
def test_an_incomplete_address_says_what_is_missing_and_leaves_the_bar_too(site, reader, form):
    share = send(site.staff)
    reader.page.goto(written(form, share))
    view = reader.sees("incomplete")
    assert "after the # sign, is missing" in view.inner_text()
    assert reader.page.url == share.link.partition("#")[0]


@pytest.mark.parametrize("path", ["/s", "/s/", "/S/"])
def test_a_link_without_anything_after_it_shows_the_page_of_the_bare_address(site, reader, path):
    reader.page.goto(site.road.origin + path)
    assert "hands files from one institution to another" in reader.sees("home").inner_text()


def test_the_secret_is_gone_before_anything_is_requested(site, reader):
    """Even if nothing else of the page loads."""
    reader.page.route("**/assets/receive.*js", lambda route: route.abort())
    share = send(site.staff)
    reader.page.goto(share.link.replace("#", "%23"))
    reader.page.wait_for_function("!location.href.includes('%23')")
    assert reader.page.url == share.link.partition("#")[0]


def test_a_sealed_link_whose_secret_was_sent_warns_before_the_password(site, reader):
    """The service could then open the files: the reader decides."""
    transfer = SealedTransfer.create(site.staff, expires_in="1h")
    transfer.add(FileMeta("a.txt", "text/plain"), [b"a"])
    link = transfer.issue("CPAM 75").link.text()
    reader.page.goto(link.replace("#", "%23"))
    reader.sees("ready")
    reader.page.locator("#limits", has_text="sent its secret to the service").wait_for()
    assert reader.barriers() == []
    reader.page.goto("about:blank")
    reader.page.goto(link)
    reader.sees("ready")
    assert reader.page.inner_text("#limits") == ""


def paste(reader, text):
    reader.page.fill("textarea:visible", text)
    reader.page.press("textarea:visible", "Enter")


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_bare_address_says_what_this_is_and_takes_a_pasted_link(site, new_reader, language):
    reader = new_reader(language)
    share = send(site.staff, b"pasted")
    reader.page.goto(f"{site.road.origin}/")
    view = checked(reader, language, "home", ("Des fichiers, remis une seule fois", "Files, handed over once"))
    assert "Caduc" not in view.inner_text(), "the house, and nothing about it"
    elsewhere = {"fr": "un autre service", "en": "another service"}
    cut = {"fr": "incomplet", "en": "incomplete"}
    none = {"fr": "pas de lien", "en": "no link"}
    page = share.link.partition("#")[0]
    for text, told in (("hello", none), (page, cut), (share.link.replace("127.0.0.1", "localhost"), elsewhere)):
        paste(reader, text)
        view.locator(".error", has_text=told[language]).wait_for()
        assert reader.page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    assert reader.barriers() == []
    half = len(share.link) - 20
    paste(reader, f"> Voici :\n> {share.link[:half]}\n> {share.link[half:]}\n> Ouvrez-le.")
    reader.sees("ready")
    assert reader.page.url == page
    assert share.secret not in reader.page.content()
    assert reader.page.evaluate("[...document.querySelectorAll('textarea')].every((field) => field.value === '')")
    reader.claim(share.password)
    assert reader.fetch() == b"pasted"
    # Where staff share the address, as with `make run`, they find their way.
    reader.page.goto(f"{site.road.origin}/")
    reader.sees("home")
    reader.page.click("[data-t=home_sign_in]")
    reader.page.wait_for_selector("#token")


def test_on_a_links_page_the_secret_alone_or_another_link_is_taken(site, reader):
    share, other = send(site.staff, b"one"), send(site.staff, b"other")
    reader.page.goto(share.link.partition("#")[0])
    reader.sees("incomplete")
    paste(reader, f"#{share.secret}.")
    reader.sees("ready")
    reader.page.goto(f"{site.road.origin}/s/{'A' * 22}#{'A' * 43}")
    reader.sees("unknown")
    paste(reader, other.link)
    reader.sees("ready")
    reader.claim(other.password)
    assert reader.fetch() == b"other"


def test_without_javascript_the_bare_address_says_what_this_is(site, new_reader):
    reader = new_reader("en", java_script_enabled=False)
    reader.page.goto(f"{site.road.origin}/")
    assert "hands files from one institution to another" in reader.page.inner_text("main")


SIZES = [(390, 844), (375, 667), (1366, 650), (1280, 600)]
DENIED = "IDBFactory.prototype.open = () => { throw new Error('denied'); };"
LONG = "Groupement hospitalier universitaire régional de la Haute-Vallée-de-l’Arve, laboratoire de virologie"


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_password_is_in_view_and_facts_stand_below_it(site, new_reader, language):
    """With a long name of the house, and with the longest warning; nothing has to be scrolled for."""
    transfer, key = open_transfer(site.staff, label="Résultats du 24 novembre " * 8)
    for size in (1_000_000, 500_000):
        ok(add_file(site.staff, transfer, key, bytes(size)), 201)
    share = issue(site.staff, transfer, key, "Caisse primaire d’assurance maladie de Paris, service des statistiques")
    reader = new_reader(language)
    reader.page.context.add_init_script(DENIED)
    reader.page.context.add_init_script(
        f"addEventListener('DOMContentLoaded', () => (document.querySelector('.sender').textContent = '{LONG * 2}'))"
    )
    reader.page.goto(share.link)
    reader.page.locator("#limits", has_text="256").wait_for()
    for width, height in SIZES:
        reader.page.set_viewport_size({"width": width, "height": height})
        box = reader.page.locator("#password").bounding_box()
        assert box
        assert 0 <= box["y"] <= box["y"] + box["height"] <= height, (width, height)
        for fact in ("#once", ".facts", "#limits"):
            below = reader.page.locator(fact).first.bounding_box()
            assert below
            assert below["y"] > box["y"], fact
    text = reader.page.inner_text("[data-view=ready]").replace("\u00a0", " ").replace("\u202f", " ")
    assert {"fr": "2 fichiers, 1,5 Mo", "en": "2 files, 1.5 MB"}[language] in text
    assert "Caisse primaire d’assurance maladie" in text
    assert reader.barriers() == []
