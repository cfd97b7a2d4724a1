"""The sentences of the recipient's page in French and English, read from Babel's .po catalogues.

The page's script fills in `{name}` in a sentence. French spacing before `: ; ? !` and in `« »` is added here.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

from babel.messages.catalog import Message
from babel.messages.pofile import read_po

LANGUAGES = ("fr", "en")
NO_BREAK = "\u00a0"

Sentences = dict[str, str | list[str]]
"""Sentences by key; a list of singular and plural for a sentence with a count."""


@cache
def catalogue(language: str) -> Sentences:
    """Return all sentences in `fr` or `en`."""
    source = files("app").joinpath("locale", language, "LC_MESSAGES", "recipient.po")
    with source.open("rb") as file:
        messages = read_po(file, locale=language, abort_invalid=True)
    return dict(_entry(message, language) for message in messages if message.id)


def catalogue_json(language: str) -> bytes:
    """Return the catalogue as JSON for the page's script."""
    return json.dumps(catalogue(language), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sentence(language: str, key: str) -> str:
    """Return a sentence without a count. Raises KeyError, and TypeError for a sentence with a count."""
    text = catalogue(language)[key]
    if not isinstance(text, str):
        raise TypeError(f"{key} counts something")
    return text


def _entry(message: Message, language: str) -> tuple[str, str | list[str]]:
    key = message.id if isinstance(message.id, str) else message.id[0]
    text = message.string or ""
    return key, _spaced(text, language) if isinstance(text, str) else [_spaced(form, language) for form in text]


def _spaced(text: str, language: str) -> str:
    return re.sub(r"(?<=«) | (?=[:;?!»%])", NO_BREAK, text) if language == "fr" else text
