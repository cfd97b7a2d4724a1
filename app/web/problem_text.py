"""The text of a refusal in the client's language: the sentences of a problem document, or plain text for people.

The code writes sentences in English. A language has a catalogue of translations,
`app/locale/<language>/LC_MESSAGES/problems.po`; `{name}` in a sentence stands for a part that is filled in, and is
translated in turn. A sentence that is not in the catalogue stays English.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from app.domain.errors import Refusal
from app.web.pages.catalogues import translations

_SLOT = re.compile(r"\\\{(\w+)\\\}")


def problem_document(refusal: Refusal, status: int, language: str) -> dict[str, Any]:
    """Return the members of a problem document (RFC 9457)."""
    return {
        "type": "about:blank",
        "title": translated(refusal.title, language),
        "status": status,
        "code": refusal.code,
        "detail": translated(refusal.detail, language),
        **refusal.members,
    }


def problem_text(refusal: Refusal, language: str) -> str:
    """Return the refusal as lines of text, with its code and members."""
    title = translated("Refused: {title}", language).format(title=translated(refusal.title, language))
    details = [] if refusal.detail == refusal.title else [translated(refusal.detail, language)]
    code = translated("Code: {code}", language).format(code=refusal.code)
    members = [f"{name}: {value}" for name, value in refusal.members.items()]
    return "".join(f"{line}\n" for line in (title, *details, code, *members))


def translated(sentence: str, language: str) -> str:
    """Return an English sentence in another language, or unchanged if the catalogue lacks it."""
    known = translations(language)
    if sentence in known:
        return known[sentence]
    for pattern, translation in _with_slots(language):
        if found := pattern.fullmatch(sentence):
            return translation.format(**{name: translated(part, language) for name, part in found.groupdict().items()})
    return sentence


@cache
def _with_slots(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    slotted = ((source, text) for source, text in translations(language).items() if "{" in source)
    return tuple((re.compile(_SLOT.sub(r"(?P<\1>.+)", re.escape(source))), text) for source, text in slotted)
