"""Both catalogues say the same things, fill the same places, and have what the page asks for and nothing else."""

import re
from importlib.resources import files

import pytest

from app.web.pages.catalogues import NO_BREAK, catalogue, catalogue_json, languages

SLOT = re.compile(r"\{[a-z]+\}")


def forms(language, key):
    text = catalogue(language)[key]
    return text if isinstance(text, list) else [text]


def sources():
    """The template and the scripts, as text."""
    web = files("app.web")
    scripts = [place.read_text("utf-8") for place in web.joinpath("static").iterdir() if place.name.endswith(".js")]
    others = [web.joinpath("pages", "receive.html"), web.joinpath("share_text.py")]
    return "\n".join([*(place.read_text("utf-8") for place in others), *scripts])


def test_both_languages_have_the_same_sentences():
    assert list(catalogue("fr")) == list(catalogue("en"))


def test_both_languages_fill_the_same_places():
    places = {
        language: {
            key: {slot for form in forms(language, key) for slot in SLOT.findall(form)} for key in catalogue(language)
        }
        for language in languages()
    }
    assert places["fr"] == places["en"]


def test_no_sentence_is_empty():
    assert [(it, key) for it in languages() for key in catalogue(it) if not all(forms(it, key))] == []


def test_every_sentence_is_used():
    """By its name, or as the title or text of a view."""
    text = sources()
    made = {f"{view}{part}" for view in re.findall(r'"(\w+)"', text) for part in ("_title", "_text")}
    unused = [key for key in catalogue("en") if f'"{key}"' not in text and key not in made]
    assert unused == []


@pytest.mark.parametrize("language", languages())
def test_every_sentence_that_scripts_name_exists(language):
    named = set(re.findall(r'(?:complain|put|notice|status)\((?:[^()"]|\([^()]*\))*"([a-z]+_[a-z_]+)"', sources()))
    assert named
    assert named - set(catalogue(language)) == set()


def test_french_marks_have_their_space_and_it_does_not_break():
    assert [text for key in catalogue("fr") for text in forms("fr", key) if re.search(r" [:;?!»%]|« ", text)] == []
    assert NO_BREAK in catalogue_json("fr").decode()
    assert NO_BREAK not in catalogue_json("en").decode()
