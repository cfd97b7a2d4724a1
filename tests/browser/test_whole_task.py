"""The whole task of a technician: two files to two agencies, in few clicks; and the whole life of it in Firefox."""

import pytest

from tests.acceptance.service import until
from tests.browser.depositor import Shown, fetched, laid
from tests.browser.firefox import firefox

ENTER = "\ue007"
CLICKS = 10
COUNT = "addEventListener('click', (event) => { if (event.isTrusted && event.detail) globalThis.clicked(); }, true);"
"""Not what Enter does to a form, which is a click of no pointer."""
STATES = {"fr": ("Récupéré et confirmé", "Lien révoqué"), "en": ("Fetched and confirmed", "Withdrawn")}
CARDS = """[...document.querySelectorAll('#shares .item')].map((card) => [card.querySelector('h2').textContent,
  card.querySelector('textarea').value, card.querySelector('.password').textContent])"""
VISIBLE = "[...document.querySelectorAll(arguments[0])].filter((it) => it.checkVisibility()).length"


def test_two_files_to_two_agencies_in_fewer_than_ten_clicks(site, new_depositor, tmp_path):
    """From the sign-in page to the end, by somebody who copies each link and each password."""
    person = new_depositor()
    page, clicks = person.page, []
    page.expose_function("clicked", lambda: clicks.append(1))
    page.add_init_script(COUNT)
    page.context.clear_cookies()
    page.goto(f"{site.road.origin}/sign-in")
    page.click("#token")
    page.keyboard.type(person.token)
    page.keyboard.press("Enter")
    person.sees("form")
    with page.expect_file_chooser() as chooser:
        page.click("#pick")
    chooser.value.set_files([str(path) for path in laid(tmp_path, a__csv=b"a;b\n", b__pdf=b"%PDF")])
    page.click("#recipients")
    page.keyboard.type("CPAM 75\nARS Bretagne")
    page.click("#deposit button[type=submit]")
    person.sees("handover")
    person.hand_over()
    assert len(clicks) == 9, "token, pick, recipients, send, four copies, done"
    assert len(clicks) < CLICKS


@pytest.mark.external
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_whole_life_of_a_transfer_in_firefox(site, tmp_path, language):
    """Sign in, two files, hand over; one recipient fetches, one is withdrawn; delete; certificate."""
    token = site.installation.token()
    paths = laid(tmp_path, résultats__csv=b"a;b\n" * 300_000, notice__pdf=b"%PDF")
    with firefox(tmp_path, language) as person:
        person.open(f"{site.road.origin}/sign-in?lang={language}")
        person.type("#token", token + ENTER)
        person.sees("form")
        person.type("#pick-files", "\n".join(map(str, paths)))
        person.wait("document.querySelectorAll('#chosen .file').length === 2")
        person.type("#recipients", "Agence A\nAgence B\nAgence C")
        person.type("#subject", "Semaine 48")
        person.click("#deposit button[type=submit]")
        person.sees("handover")
        first, *_ = (Shown(*card) for card in person.run(CARDS))
        for button in ("copy-mail", "copy-password"):
            for number in (1, 2, 3):
                person.click(f"#shares .item:nth-child({number}) .{button}")
                person.wait(f"document.querySelector('#shares .item:nth-child({number}) .{button}[data-copied]')")
        person.click("#done")
        person.sees("form")
        assert fetched(site.installation, first, tmp_path) == {path.name: path.read_bytes() for path in paths}

        person.click("#nav-sent")
        person.sees("sent")
        person.wait("document.querySelectorAll('#transfers[aria-busy=false] .item').length === 1")
        assert "résultats.csv, notice.pdf" in person.run("document.getElementById('transfers').textContent")
        taken, withdrawn = STATES[language]
        states = "[...document.querySelectorAll('.share-state')].map((it) => it.textContent)"
        assert [taken in state for state in person.run(states)] == [True, False, False]
        assert person.run(VISIBLE, ".withdraw") == 2
        person.click(".share:nth-child(2) .withdraw")
        person.click("#confirm-yes")
        person.wait(f"{states}[1].includes(arguments[0])", withdrawn)
        person.click("#transfers .delete")
        person.click("#confirm-yes")
        person.wait("!document.querySelector('#transfers .delete').checkVisibility()")
        site.installation.run("sweep")
        person.open(f"{site.road.origin}/?lang={language}#send")

        def certified():
            person.run("(location.hash = '#send', null)")
            person.sees("form")
            person.click("#nav-sent")
            person.wait("document.querySelectorAll('#transfers[aria-busy=false] .item').length === 1")
            return person.run(VISIBLE, ".certificate")

        until(certified, what="the certificate")
        address = person.run("document.querySelector('.certificate').href")
        assert (
            person.run("fetch(arguments[0], {headers: {Accept: 'text/html'}}).then((it) => it.status)", address) == 200
        )
