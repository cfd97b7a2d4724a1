"""An administrator's whole work in Chromium, by the keyboard alone: no barrier found by axe and nothing clipped in any
state, in the language that was chosen.
"""

import re

import pytest

from tests.browser.reader import Reader
from tests.browser.test_audit_pages import CLIPPED, SCREENS
from tests.marks import in_test_all

HOSTILE = '<img src=x onerror="document.title=1"> \N{HEBREW LETTER ALEF}\N{ARABIC LETTER BEH} ' + "W" * 60
"""Markup, two directions, and a word longer than a column."""

FOCUSED = """() => {
  const it = document.activeElement;
  return it.matches('a, button') ? it.innerText.trim() : it.id;
}"""


STATE = "[...document.querySelectorAll('main, main *')].map(it => it.tagName + it.className + it.role).join()"
"""What a page consists of, whatever its words are."""


class Administrator(Reader):
    """A tab of the house pages. `language` is the one that every state must be in."""

    language = "en"
    origin = ""

    def sign_in(self, origin, token):
        self.origin, self.examined = origin, []
        self.page.goto(f"{origin}/sign-in?lang={self.language}")
        self.page.fill("[name=token]", token)
        self.page.press("[name=token]", "Enter")
        self.page.wait_for_url(f"{origin}/")

    def at(self, path):
        self.page.goto(f"{self.origin}/house/{path}?lang={self.language}")
        self.is_fine()

    def reach(self, name):
        """Press Tab until a field has the focus, by its id, or a link or button, by its text. On a new page the first
        link skips the navigation.
        """
        if self.page.evaluate("document.activeElement === document.body"):
            self.page.keyboard.press("Tab")
            self.page.keyboard.press("Enter")
        for _ in range(50):
            self.page.keyboard.press("Tab")
            focused = self.page.evaluate(FOCUSED)
            if focused == name or (name not in FIELDS and focused.startswith(name)):
                return
        raise AssertionError(name)

    def press(self, name):
        """Follow a link or press a button by Enter."""
        self.reach(name)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
        self.is_fine()

    def type(self, field, text):
        self.reach(field)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)

    def is_fine(self):
        page = self.page
        assert page.evaluate("document.documentElement.lang") == self.language
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, page.url
        assert page.evaluate(CLIPPED.replace("input, ", "")) == [], page.url  # fields scroll
        assert page.title() != "1"
        assert self.faults == []
        state = page.evaluate(STATE)
        if state not in self.examined:  # axe takes longer than everything else
            self.examined.append(state)
            assert self.barriers() == [], page.url


FIELDS = {"name", "role", "expires_in", "secret", "word", "reason"}

WORDS = {
    "en": {
        "new": "New token",
        "create": "Create the token",
        "back": "Back to the tokens",
        "revoke": "Revoke",
        "revoke_now": "Revoke this token",
        "revoked": "was revoked on",
        "taken": "A token of this name exists",
        "wrong": "was not typed",
        "lock": "Lock the service down",
        "locked": "Locked down since",
        "refused": "While the service is locked down",
        "stop": "Accept no new transfers",
        "stopped": "No new transfers have been accepted since",
        "resume": "Accept new transfers again",
        "sign_out": "End session",
        "sign_out_now": "End this session",
        "own": "your own browser",
    },
    "fr": {
        "new": "Nouveau jeton",
        "create": "Créer le jeton",
        "back": "Retour aux jetons",
        "revoke": "Révoquer",
        "revoke_now": "Révoquer ce jeton",
        "revoked": "a été révoqué le",
        "taken": "Un jeton de ce nom existe",
        "wrong": "n’a pas été saisi",
        "lock": "Verrouiller le service",
        "locked": "Verrouillé depuis",
        "refused": "Tant que le service est verrouillé",
        "stop": "Ne plus accepter de transferts",
        "stopped": "Aucun nouveau transfert n’est accepté",
        "resume": "Accepter de nouveau les transferts",
        "sign_out": "Fermer la session",
        "sign_out_now": "Fermer cette session",
        "own": "propre navigateur",
    },
}


@pytest.mark.parametrize(
    ("language", "screen", "scheme"), [("fr", "phone", "dark"), in_test_all("en", "desk", "light")]
)
def test_an_administrators_work_by_keyboard(site, browser, axe, language, screen, scheme):
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab, words = Administrator.in_tab_of(context, axe), WORDS[language]
    tab.language = language
    tab.sign_in(site.road.origin, site.installation.token("admin"))
    secret = makes_a_token(tab, words)
    assert accepted(site, secret)
    revokes_it_in_two_tabs(tab, words, context)
    assert not accepted(site, secret)
    fails_to_make_its_namesake(tab, words)
    stops_the_service(tab, words, site)
    signs_itself_out(tab, words)
    assert context.cookies() == []
    context.close()


def name_in(tab):
    """A name that no token of the other language's walk has."""
    return f"{tab.language} {HOSTILE}"


def accepted(site, secret):
    answer = site.staff.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"})
    return answer.status_code == 200


def makes_a_token(tab, words):
    """It is on one page, at no address, and nowhere in the browser afterwards."""
    tab.at("tokens")
    tab.press(words["new"])
    tab.type("name", name_in(tab))
    tab.reach("role")
    tab.page.keyboard.press("ArrowDown")
    tab.press(words["create"])
    secret = tab.page.input_value("#secret")
    assert re.fullmatch(r"cad_[\w-]{49}", secret)
    assert name_in(tab) in tab.page.inner_text("dl")
    tab.reach("secret")
    selected = "[document.activeElement.selectionStart, document.activeElement.selectionEnd]"
    assert tab.page.evaluate(selected) == [0, len(secret)]
    tab.press(words["back"])
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, location.href, document.cookie])"
    assert secret not in tab.page.content() + tab.page.evaluate(kept)
    return secret


def revokes_it_in_two_tabs(tab, words, context):
    """The second one is told what became of the token; nothing fails."""
    tab.press(words["revoke"])
    other = Administrator.in_tab_of(context, tab.axe)
    other.language, other.origin, other.examined = tab.language, tab.origin, tab.examined
    other.page.goto(tab.page.url)
    tab.reach("reason")
    tab.page.keyboard.press("ArrowDown")
    for each in (tab, other):
        each.press(words["revoke_now"])
        assert words["revoked"] in each.page.inner_text("main")
    other.page.close()


def fails_to_make_its_namesake(tab, words):
    """The form comes back as it was filled in."""
    tab.at("tokens/new")
    tab.type("name", name_in(tab))
    tab.press(words["create"])
    assert words["taken"] in tab.page.inner_text("[role=alert]")
    assert tab.page.input_value("#name") == name_in(tab)


def stops_the_service(tab, words, site):
    tab.at("service")
    tab.press(words["stop"])
    assert words["stopped"] in tab.page.inner_text("main")
    tab.press(words["resume"])
    word = tab.page.inner_text(".word")
    tab.type("word", word[:-1])
    tab.press(words["lock"])
    assert words["wrong"] in tab.page.inner_text("[role=alert]")
    tab.type("word", word)
    tab.press(words["lock"])
    assert words["locked"] in tab.page.inner_text("main")
    tab.at("tokens/new")
    tab.type("name", "under a lockdown")
    tab.press(words["create"])
    assert words["refused"] in tab.page.inner_text("[role=alert]")
    assert site.installation.run("lockdown", "off").code == 0


def signs_itself_out(tab, words):
    tab.at("sessions")
    tab.press(words["sign_out"])
    assert words["own"] in tab.page.inner_text(".warning")
    tab.reach(words["sign_out_now"])
    with tab.page.expect_navigation():
        tab.page.keyboard.press("Enter")
    assert tab.page.url.startswith(f"{tab.origin}/sign-in")
