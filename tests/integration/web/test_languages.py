"""A language is one catalogue: a third one, derived here from the English one, is offered everywhere."""

import json
import re
from importlib.resources import files
from pathlib import Path
from shutil import copytree

import pytest
from babel.messages.pofile import read_po, write_po

from app.web.pages import assets, catalogues, render
from tests.attacks.inside import inside

THIRD = "eo"
CACHES = (
    catalogues.languages,
    catalogues.catalogue,
    assets.assets,
    assets.lasting_assets,
    assets.page,
    render.render_recipient_page,
)


def in_brackets(text: str) -> str:
    return f"\u27e6{text}\u27e7"


@pytest.fixture
def third_language(tmp_path, monkeypatch):
    """The catalogues and one more, whose sentences stand in brackets; the dates as they are."""
    locales = tmp_path / "locale"
    copytree(Path(str(files("app"))) / "locale", locales)
    with (locales / "en" / "LC_MESSAGES" / "recipient.po").open("rb") as source:
        pseudo = read_po(source, locale="en")
    for message in pseudo:
        if message.id:
            text = message.string
            message.string = in_brackets(text) if isinstance(text, str) else [in_brackets(form) for form in text or ()]
    folder = locales / THIRD / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "recipient.po").open("wb") as target:
        write_po(target, pseudo)
    monkeypatch.setattr(catalogues, "LOCALES", locales)
    for cached in CACHES:
        cached.cache_clear()
    yield
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def opened(tmp_path, third_language):
    with inside(tmp_path / "data") as opened:
        yield opened


def test_the_page_is_served_in_an_added_language(opened):
    page = opened.http.get("/s/x", headers={"Accept-Language": f"{THIRD};q=0.9, fr;q=0.8"})
    assert page.headers["content-language"] == THIRD
    assert f'<html lang="{THIRD}">' in page.text
    assert "<h1" in page.text
    assert "\u27e6Files for you\u27e7" in page.text
    assert opened.http.get(f"/s/x?lang={THIRD}", headers={"Accept-Language": "fr"}).text == page.text


def test_the_pages_script_gets_every_sentence_in_an_added_language(opened):
    spoken = opened.http.get(f"/s/assets/{THIRD}.json").json()
    assert spoken.keys() == opened.http.get("/s/assets/en.json").json().keys()
    assert all("\u27e6" in (text if isinstance(text, str) else text[0]) for text in spoken.values())


def test_the_switch_goes_through_all_languages(opened):
    following = {}
    for language in ("en", THIRD, "fr"):
        anchor = opened.http.get(f"/s/x?lang={language}").text.partition('id="language"')[2].partition("</a>")[0]
        following[language] = anchor.partition('hreflang="')[2].partition('"')[0]
        names = anchor.partition('data-names="')[2].partition('"')[0].replace("&#34;", '"').replace("&quot;", '"')
        assert list(json.loads(names)) == ["en", THIRD, "fr"]
    assert following == {"en": THIRD, THIRD: "fr", "fr": "en"}


def test_the_text_of_a_share_is_in_an_added_language(opened):
    headers = {"Accept": "text/plain", "Accept-Language": THIRD}
    answer = opened.staff().put("/api/v1/send/a.csv?recipient=ARS", content=b"x", headers=headers)
    assert (answer.status_code, answer.headers["content-language"]) == (201, THIRD)
    assert "\u27e6--- Send this by mail ---\u27e7" in answer.text
    untranslated, inner = answer.text, re.compile("\u27e6[^\u27e6\u27e7]*\u27e7")
    while inner.search(untranslated):
        untranslated = inner.sub("", untranslated)
    assert untranslated.strip() == "", "every word stands in a sentence of the catalogue"


def test_what_nobody_speaks_is_answered_in_english(opened):
    for asked in ("de", "", "..", "xx-YY;q=1", "eo;q=0"):
        assert opened.http.get("/s/x", headers={"Accept-Language": asked}).headers["content-language"] == "en"
