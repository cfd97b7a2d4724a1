"""Make the recipient's page: from the settings and the reader's language alone, so that it is the same for every id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.settings import Settings
from app.web.pages.texts import TEXTS

_NO_BREAK = "\u00a0"
_SLOT = re.compile(r"\{([a-z]+)\}")
_ENVIRONMENT = Environment(
    loader=PackageLoader("app.web", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A text that is HTML already; the template's escaping honours `__html__`."""

    html: str

    def __html__(self) -> str:
        return self.html


def render_recipient_page(settings: Settings, language: str) -> str:
    """The page in `fr` or `en`, as HTML. What belongs to one share is put in by the page's script."""
    return _page(
        language=language,
        organisation=settings.organisation,
        contact=settings.contact,
        origin=settings.recipients_origin,
        window=_minutes(settings.claim_window),
    )


@cache
def _page(*, language: str, organisation: str, contact: str, origin: str, window: str) -> str:
    def say(name: str) -> _Sentence:
        return _sentence(getattr(TEXTS[name], language), window=window, french=language == "fr")

    template = _ENVIRONMENT.get_template("receive.html")
    return template.render(say=say, language=language, organisation=organisation, contact=contact, origin=origin)


def _sentence(text: str, *, window: str, french: bool) -> _Sentence:
    """A text as HTML: the window put in, other names in braces as empty elements for the script to fill."""
    spaced = re.sub(r"(?<=«) | (?=[:;?!»])", _NO_BREAK, text) if french else text
    html = escape(spaced).replace("{window}", window)
    return _Sentence(_SLOT.sub(r'<span data-slot="\1"></span>', html))


def _minutes(span: timedelta) -> str:
    """A span in whole minutes; the word is the same in both languages."""
    count = max(1, round(span.total_seconds() / 60))
    return f"{count}{_NO_BREAK}minute{'s' if count > 1 else ''}"
