"""Renders a page: self-contained, without scripts and external resources, so that a saved copy stays as it is."""

from __future__ import annotations

import base64
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.reports.words import Words


@cache
def style() -> str:
    """Return the style sheet that every page contains."""
    return files("app.reports").joinpath("templates", "report.css").read_text("utf-8")


@cache
def style_hash() -> str:
    """Return the style sheet's source expression for a Content Security Policy."""
    return f"'sha256-{base64.b64encode(sha256(style().encode()).digest()).decode()}'"


def render(template: str, words: Words, **shown: object) -> str:
    """Render a template of this package as HTML. All values are escaped."""
    return _environment().get_template(template).render(say=words, words=words, style=Markup(style()), **shown)  # noqa: S704 - our own file


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("app.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
