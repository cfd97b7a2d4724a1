"""The sentences, numbers and times of a page, in one language.

Sentences come from Babel's .po catalogues. French spacing before
`: ; ? !` and inside `« »` is added when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from babel import Locale
from babel.dates import format_datetime
from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

LOCALES: Traversable = files("app").joinpath("locale")
NO_BREAK = "\u00a0"
Sentences = Mapping[str, str | list[str]]
"""Sentences by key; a list of singular and plural for a sentence with a count."""

LANGUAGES = ("en", "fr")
DEFAULT = "en"


def read_catalogue(source: Traversable, language: str) -> dict[str, str | list[str]]:
    """Return all sentences of a catalogue."""
    with source.open("rb") as file:
        messages = read_po(file, locale=language, abort_invalid=True)
    return dict(_entry(message, language) for message in messages if message.id)


def _entry(message: Message, language: str) -> tuple[str, str | list[str]]:
    key = message.id if isinstance(message.id, str) else message.id[0]
    text = message.string or ""
    return key, spaced(text, language) if isinstance(text, str) else [spaced(form, language) for form in text]


def spaced(text: str, language: str) -> str:
    """Return a text with the spaces that do not break in French."""
    return re.sub(r"(?<=«) | (?=[:;?!»%])", NO_BREAK, text) if language == "fr" else text


@cache
def report_sentences(language: str) -> Sentences:
    """Return the sentences of the pages of this package: reports and forms, and the pages of the house."""
    folder, found = LOCALES.joinpath(language, "LC_MESSAGES"), dict[str, str | list[str]]()
    for name in ("report.po", "house.po", "administration.po"):
        found |= read_catalogue(folder / name, language)
    return found


class Words:
    """Writes sentences, numbers and times in one language. Times carry the name of their zone."""

    def __init__(self, language: str, zone: tzinfo = UTC) -> None:
        """`language` is one of LANGUAGES."""
        self.language = language
        self._sentences: Sentences = report_sentences(language)
        self._locale = Locale.parse(language)
        self._zone = zone

    def __call__(self, key: str, **values: object) -> str:
        """Return the sentence with this key. `count` chooses singular or plural; numbers and times are formatted.
        Raises KeyError.
        """
        text = self._sentences[key]
        if not isinstance(text, str):
            count = values["count"]
            one = isinstance(count, int) and self._locale.plural_form(count) == "one"
            text = text[0 if one else 1]
        return text.format(**{name: self._written(value) for name, value in values.items()})

    def __contains__(self, key: str) -> bool:
        """Return whether there is a sentence with this key."""
        return key in self._sentences

    def number(self, value: float) -> str:
        """Return a number with its digits grouped and at most one decimal."""
        return format_decimal(value, format="#,##0.#", locale=self._locale)

    def moment(self, value: datetime) -> str:
        """Return a time to the second, with the zone's name."""
        there = value.astimezone(self._zone)
        return f"{format_datetime(there, 'd MMM y, HH:mm:ss', locale=self._locale)}{NO_BREAK}{there.tzname()}"

    def day(self, value: datetime) -> str:
        """Return day and month of a day in UTC, as reports count them."""
        return format_datetime(value.astimezone(UTC), "d MMM", locale=self._locale)

    def code(self, kind: str, value: object) -> str:
        """Return the word for a value of an enumeration, such as a state; `other` for one without a word."""
        return self(f"{kind}_{value}" if f"{kind}_{value}" in self._sentences else f"{kind}_other")

    def _written(self, value: object) -> object:
        match value:
            case int() | float():
                return self.number(value)
            case datetime():
                return self.moment(value)
            case _:
                return value
