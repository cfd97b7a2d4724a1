"""The word that confirms a lockdown, in each language."""

from __future__ import annotations

from app.domain.administration import LOCKDOWN_WORD
from app.web.pages.catalogues import languages
from app.web.problem_text import translated


def lockdown_word(language: str) -> str:
    """Return the word in a language."""
    return translated(LOCKDOWN_WORD, language)


def lockdown_words() -> list[str]:
    """Return the word in every language: whichever one is typed counts."""
    return [lockdown_word(language) for language in languages()]
