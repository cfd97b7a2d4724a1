"""The form with which an auditor's browser asks for reports, the pages of sign-in, and the page of a refusal."""

from __future__ import annotations

from app.domain.errors import Refusal
from app.reports.page import Page, Verdict, render, report_page
from app.reports.words import LANGUAGES, Words
from app.runtime.settings import Settings


def entrance_page(settings: Settings, language: str) -> str:
    """Return the form as HTML."""
    shown = {"organisation": settings.organisation, "others": others(language)}
    return render("audit_form.html", Words(language), zone=settings.zone, **shown)


def sign_in_page(settings: Settings, language: str, *, signed_out_here: bool = False) -> str:
    """Return the page that offers the way to sign in: a form for a token, or a link to the identity provider."""
    shown = {"organisation": settings.organisation, "others": others(language), "provider": settings.oidc_issuer}
    return render("sign_in.html", Words(language), signed_out_here=signed_out_here, **shown)


def signed_out_page(address: str, language: str) -> str:
    """Return the page of somebody who has signed out here, and goes on to `address` to sign out at the provider."""
    return render("signed_out.html", Words(language), address=address)


def sign_in_refused_page(refusal: Refusal, language: str) -> str:
    """Return a refused sign-in as HTML, with its code and the way back."""
    words = Words(language)
    return render("sign_in_refused.html", words, reason=words.code("refused", refusal.code), code=refusal.code)


def others(language: str) -> list[Words]:
    """Return the other languages, in which a page offers itself."""
    return [Words(each) for each in LANGUAGES if each != language]


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
