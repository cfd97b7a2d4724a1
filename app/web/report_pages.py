"""Chooses between a page for people and a document for programs, and sends the page so that it can do nothing."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import HTMLResponse

from app.domain.errors import InvalidRequest, Refusal
from app.reports.forms import entrance_page, refused_page, sign_in_page, sign_in_refused_page, signed_out_page
from app.reports.page import style_hash
from app.reports.words import LANGUAGES
from app.runtime.settings import Settings
from app.web.pages.catalogues import language_of, languages
from app.web.problems import STATUS, headers_of


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


def language_of_page(request: Request, lang: str | None) -> str | None:
    """Return the language of the page that the client requests, or None for a document. Raises InvalidRequest."""
    language = page_language(request, lang)
    return language if wants_page(request) else None


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


def known_language(request: Request, lang: str | None) -> str:
    """Return `lang` if it is a language of the pages, else the one that the client prefers."""
    return lang if lang in languages() else language_of(request.headers.get("accept-language"))


def form_response(settings: Settings, language: str) -> HTMLResponse:
    """Return the auditor's form."""
    return own_form_response(entrance_page(settings, language), language)


def sign_in_response(settings: Settings, language: str, *, signed_out_here: bool = False) -> HTMLResponse:
    """Return the page on which staff sign in. `signed_out_here`: somebody signed out, perhaps not at the provider."""
    return own_form_response(sign_in_page(settings, language, signed_out_here=signed_out_here), language)


def leaving_response(address: str, language: str) -> HTMLResponse:
    """Return the page that leads to the provider's sign-out. A form cannot be redirected there: browsers hold the whole
    way of a form to its page's `form-action`.
    """
    return own_form_response(signed_out_page(address, language), language)


def own_form_response(html: str, language: str) -> HTMLResponse:
    """Return a page with a form, without scripts. Only this origin receives what is typed into it."""
    return HTMLResponse(
        html,
        headers={
            "Content-Security-Policy": f"default-src 'none'; style-src {style_hash()}; base-uri 'none'; "
            "form-action 'self'; frame-ancestors 'none'",
            "Content-Language": language,
            "Referrer-Policy": "same-origin",  # with `no-referrer`, browsers without Fetch Metadata send no Origin
        },
    )


def read_form(body: bytes) -> dict[str, str]:
    """Return the fields of a submitted form. Raises InvalidRequest for a body that is none, or a repeated field."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise InvalidRequest("The body is not a form.") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise InvalidRequest("A field of the form is repeated.")
    return {name: value.strip() for name, value in pairs if value.strip()}


def refusal_page(request: Request, refusal: Refusal, *, lang: str | None, sign_in: bool = False) -> HTMLResponse:
    """Return a refusal as a page; one of a sign-in leads back to the sign-in page."""
    language = known_language(request, lang)
    html = (sign_in_refused_page if sign_in else refused_page)(refusal, language)
    response = page_response(html, language, status=STATUS[type(refusal)])
    response.headers.update(headers_of(refusal))
    return response
