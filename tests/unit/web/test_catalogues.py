"""Both catalogues of each page say the same things, fill the same places, and have what the page asks for, no more."""

import re
from importlib.resources import files

import pytest

from app.web.pages.catalogues import NO_BREAK, catalogue, catalogue_json, languages
from app.web.pages.page_files import RECIPIENT, STAFF, names_served, static_file

SLOT = re.compile(r"\{[a-z]+\}")


PAGES = pytest.mark.parametrize("page", [RECIPIENT, STAFF], ids=lambda page: page.catalogue)


def forms(page, language, key):
    text = catalogue(language, page.catalogue)[key]
    return text if isinstance(text, list) else [text]


def sources(page):
    """The templates and the scripts of a page, as text."""
    web = files("app.web")
    scripts = [static_file(name).decode() for name in names_served(page) if name.endswith(".js")]
    templates = [web.joinpath("pages", name) for name in (page.template, "frame.html", "macros.html")]
    others = [*templates, web.joinpath("share_text.py")]
    return "\n".join([*(place.read_text("utf-8") for place in others), *scripts])


@PAGES
def test_both_languages_have_the_same_sentences(page):
    assert list(catalogue("fr", page.catalogue)) == list(catalogue("en", page.catalogue))


@PAGES
def test_both_languages_fill_the_same_places(page):
    places = {
        language: {
            key: {slot for form in forms(page, language, key) for slot in SLOT.findall(form)}
            for key in catalogue(language, page.catalogue)
        }
        for language in languages()
    }
    assert places["fr"] == places["en"]


@PAGES
def test_no_sentence_is_empty(page):
    name = page.catalogue
    assert [(it, key) for it in languages() for key in catalogue(it, name) if not all(forms(page, it, key))] == []


@PAGES
def test_every_sentence_is_used(page):
    """By its name, or as the title or text of a view."""
    text = sources(page)
    made = {f"{view}{part}" for view in re.findall(r'"(\w+)"', text) for part in ("_title", "_text")}
    made |= {f"show_{choice}" for choice in re.findall(r'"(\w+)"', text)}
    unused = [key for key in catalogue("en", page.catalogue) if f'"{key}"' not in text and key not in made]
    assert unused == []


@PAGES
@pytest.mark.parametrize("language", languages())
def test_every_sentence_that_scripts_name_exists(page, language):
    called = r'(?:complain|put|notice|status)\((?:[^()"]|\([^()]*\))*"([a-z]+_[a-z_]+)"'
    named = set(re.findall(called, sources(page))) | set(re.findall(r'data-t="(\w+)"', sources(page)))
    assert named
    assert named - set(catalogue(language, page.catalogue)) - SHARED_MODULES[page] == set()


SHARED_MODULES = {RECIPIENT: set(), STAFF: {"progress_first"}}


@PAGES
def test_french_marks_have_their_space_and_it_does_not_break(page):
    every = catalogue("fr", page.catalogue)
    assert [text for key in every for text in forms(page, "fr", key) if re.search(r" [:;?!»%]|« ", text)] == []
    assert NO_BREAK in catalogue_json("fr", page.catalogue).decode()
    assert NO_BREAK not in catalogue_json("en", page.catalogue).decode()
