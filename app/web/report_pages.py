"""Chooses between a page for people and a document for programs, and sends the page so that it can do nothing."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from app.domain.errors import InvalidRequest
from app.reports.page import style_hash
from app.reports.words import LANGUAGES
from app.web.pages.catalogues import language_of


def wants_page(request: Request) -> bool:
    """Return whether the client requests HTML; only the first media type counts. Browsers send it first."""
    first = request.headers.get("accept", "").split(",")[0].split(";")[0]
    return first.strip().lower() == "text/html"


def page_language(request: Request, lang: str | None = None) -> str:
    """Return the language of a page: `lang`, else the one that the client prefers. Raises InvalidRequest."""
    if lang is None:
        return language_of(request.headers.get("accept-language"))
    if lang not in LANGUAGES:
        raise InvalidRequest(f"lang: {' or '.join(LANGUAGES)}.")
    return lang


def page_response(html: str, language: str, *, status: int = 200) -> HTMLResponse:
    """Return a page that loads nothing, runs nothing and can be shown in no frame."""
    return HTMLResponse(
        html,
        status,
        headers={
            "Content-Security-Policy": f"default-src 'none'; style-src {style_hash()}; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'; sandbox",
            "Content-Language": language,
        },
    )
