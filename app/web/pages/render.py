"""Renders the pages from the settings and the language alone: the recipient's page is the same for every share id, and
the staff's for everybody who is signed in.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.runtime.settings import Settings
from app.web.pages.catalogues import languages, sentence
from app.web.pages.page_files import RECIPIENT, STAFF, PageFiles, modules_in_advance

_ENVIRONMENT = Environment(
    loader=PackageLoader("app.web", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@cache
def render_recipient_page(settings: Settings, language: str, *, version: str, first: str) -> str:
    """Return the page in a language, as HTML, with assets of this version, showing the view `first`. Its script adds
    the data of a share.
    """
    return _rendered(
        RECIPIENT,
        settings,
        language,
        version,
        first=first,
        origin=settings.recipients_origin,
        sign_in_here=settings.offers_sign_in and settings.staff_origin == settings.recipients_origin,
        window_seconds=round(settings.claim_window.total_seconds()),
    )


@cache
def render_staff_page(settings: Settings, language: str, *, version: str) -> str:
    """Return the page of staff in a language, as HTML. Its script adds who is signed in and what they sent."""
    return _rendered(STAFF, settings, language, version, first="loading")


def _rendered(page: PageFiles, settings: Settings, language: str, version: str, **more: object) -> str:
    def say(key: str) -> str:
        """Return a sentence; empty if it has placeholders, which the script fills in."""
        text = sentence(language, key, page.catalogue)
        return "" if "{" in text else text

    return _ENVIRONMENT.get_template(page.template).render(
        say=say,
        language=language,
        names={each: sentence(each, "language") for each in languages()},
        other=_after(language),
        organisation=settings.organisation,
        contact=settings.contact,
        logo=settings.logo_name,
        prefix=page.prefix,
        styles=[name for name in page.others if name.endswith(".css")],
        scripts=page.scripts,
        modules=modules_in_advance(page),
        asset=lambda name: f"{page.prefix}{versioned(name, version)}",
        **more,
    )


def versioned(name: str, version: str) -> str:
    """Return the name under which browsers may keep an asset: `receive.<version>.js`."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{version}{dot}{suffix}"


def _after(language: str) -> str:
    """Return the language that the page's switch selects: the next one, and after the last one the first."""
    every = languages()
    return every[(every.index(language) + 1) % len(every)]
