"""Renders the recipient's page from the settings and the language alone, so that it is the same for every share id."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.runtime.settings import Settings
from app.web.pages.catalogues import languages, sentence

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

    def say(key: str) -> str:
        """Return a sentence; empty if it has placeholders, which the script fills in."""
        text = sentence(language, key)
        return "" if "{" in text else text

    return _ENVIRONMENT.get_template("receive.html").render(
        say=say,
        language=language,
        first=first,
        names={each: sentence(each, "language") for each in languages()},
        other=_after(language),
        organisation=settings.organisation,
        contact=settings.contact,
        logo=settings.logo_name,
        origin=settings.recipients_origin,
        window_seconds=round(settings.claim_window.total_seconds()),
        modules=_modules(),
        asset=lambda name: f"/s/assets/{versioned(name, version)}",
    )


def versioned(name: str, version: str) -> str:
    """Return the name under which browsers may keep an asset: `receive.<version>.js`."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{version}{dot}{suffix}"


def _after(language: str) -> str:
    """Return the language that the page's switch selects: the next one, and after the last one the first."""
    every = languages()
    return every[(every.index(language) + 1) % len(every)]


@cache
def _modules() -> list[str]:
    """Return the names of the page's scripts, so that the browser requests all of them at once; the script of archives
    only when there are several files.
    """
    names = [place.name for place in files("app.web").joinpath("static").iterdir() if place.name.endswith(".js")]
    return sorted(name for name in names if name not in {"address.js", "receive.js", "sw.js", "zip.js"})
