"""The form with which an auditor's browser asks for reports, and the page of a refusal."""

from __future__ import annotations

from app.domain.errors import Refusal
from app.reports.page import Page, Verdict, render, report_page
from app.reports.words import LANGUAGES, Words
from app.runtime.settings import Settings


def entrance_page(settings: Settings, language: str) -> str:
    """Return the form as HTML."""
    others = [Words(each) for each in LANGUAGES if each != language]
    return render(
        "audit_form.html", Words(language), organisation=settings.organisation, others=others, zone=settings.zone
    )


def refused_page(refusal: Refusal, language: str) -> str:
    """Return a refusal as HTML, with its code. The program's own text is English, so each code has a sentence."""
    words = Words(language)
    missing = refusal.members.get("missing")
    page = Page(
        title=words("refused_title"),
        intro=[],
        verdicts=[Verdict(words.code("refused", refusal.code), bad=True)],
        facts=[],
        steps=[
            *([words.code("missing", missing)] if missing else []),
            words("refused_code", code=refusal.code),
            words("refused_back"),
        ],
    )
    return report_page(page, words, "")
