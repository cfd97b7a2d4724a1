"""The sentences of the pages and of a share's text, by language, read from Babel's .po catalogues.

A language is a catalogue, `app/locale/<language>/LC_MESSAGES/recipient.po`; nothing else lists the languages. Each has
`staff.po`, too, for the page of staff.

The page's script fills in `{name}` in a sentence. French spacing before `: ; ? !` and in `« »` is added here.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from babel.messages.pofile import read_po

from app.reports.words import NO_BREAK, read_catalogue, spaced

__all__ = ["NO_BREAK", "catalogue", "catalogue_json", "language_of", "languages", "sentence"]

from app.web.negotiation import weighted

LOCALES: Traversable = files("app").joinpath("locale")
DEFAULT_LANGUAGE = "en"

Sentences = dict[str, str | list[str]]
"""Sentences by key; a list of singular and plural for a sentence with a count."""


NOT_FOR_SCRIPT = ("share_", "noscript_", "word_")
"""How sentences begin that the page's script never shows: those for depositors, and for readers without scripts."""


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that have a catalogue, in alphabetical order."""
    found = [place.name for place in LOCALES.iterdir() if _catalogue_of(place.name).is_file()]
    return tuple(sorted(found))


def language_of(accept_language: str | None) -> str:
    """Return the reader's preferred language (RFC 9110, 12.5.4); English if there is a catalogue for none of them."""
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for tag, weight in weighted(accept_language):
        primary = tag.split("-")[0]
        if primary in languages() and weight > best_weight:
            best, best_weight = primary, weight
    return best


def _catalogue_of(language: str, name: str = "recipient") -> Traversable:
    return LOCALES.joinpath(language, "LC_MESSAGES", f"{name}.po")


@cache
def catalogue(language: str, name: str = "recipient") -> Sentences:
    """Return all sentences of a catalogue in a language."""
    return read_catalogue(_catalogue_of(language, name), language)


@cache
def translations(language: str) -> dict[str, str]:
    """Return the translations of refusals by their English sentences (`app.web.problem_text`); empty without any."""
    source = _catalogue_of(language, "problems")
    if not source.is_file():
        return {}
    with source.open("rb") as file:
        messages = read_po(file, locale=language, abort_invalid=True)
    return {str(message.id): spaced(str(message.string), language) for message in messages if message.id}


def catalogue_json(language: str, name: str = "recipient") -> bytes:
    """Return a catalogue as JSON for the page's script."""
    sentences = {key: text for key, text in catalogue(language, name).items() if not key.startswith(NOT_FOR_SCRIPT)}
    return json.dumps(sentences, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sentence(language: str, key: str, name: str = "recipient") -> str:
    """Return a sentence without a count. Raises KeyError, and TypeError for a sentence with a count."""
    text = catalogue(language, name)[key]
    if not isinstance(text, str):
        raise TypeError(f"{key} has singular and plural forms")
    return text


def counted(language: str, key: str, count: int) -> str:
    """Return the singular or plural of a sentence with `{count}`. Raises KeyError, and TypeError for one without."""
    forms = catalogue(language)[key]
    if isinstance(forms, str):
        raise TypeError(f"{key} has no singular and plural forms")
    return forms[0 if count == 1 else 1].format(count=count)
