"""Pages of facts, tables and bars: self-contained, without scripts and external resources, so that a saved copy stays
as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.domain.evidence import Evidence
from app.reports.words import Words

ROWS_SHOWN = 500
"""The maximum number of rows per table. The JSON report contains all of them."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure or a statement with its label; `more` holds further lines."""

    label: str
    value: str
    more: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Numbers are aligned to the right, ids are set in a fixed width."""

    label: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `count` is the number of rows that exist, of which the first ROWS_SHOWN may be in `rows`."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    count: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled value; `late` marks one beyond a limit."""

    label: str
    value: float
    text: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """A chart of horizontal bars with their figures; the longest fills the width. `columns` are the heads of the labels
    and of the figures.
    """

    title: str
    note: str
    columns: tuple[str, str]
    bars: Sequence[Bar]

    @property
    def highest(self) -> float:
        """The value of the longest bar."""
        return max((bar.value for bar in self.bars), default=0) or 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """A statement at the top of a page; bad news is red."""

    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A report as a page."""

    title: str
    intro: Sequence[str]
    verdicts: Sequence[Verdict]
    facts: Sequence[Fact]
    sections: Sequence[Table | Bars] = ()
    evidence: Evidence | None = None
    text: str = ""
    """A document to be copied or saved, such as a checkpoint."""
    facts_title: str = ""
    steps: Sequence[str] = field(default_factory=tuple)


def report_page(page: Page, words: Words, organisation: str) -> str:
    """Return a report as HTML."""
    return render("report.html", words, page=page, organisation=organisation)


@cache
def style() -> str:
    """Return the style sheet that every self-contained page contains."""
    return files("app.reports").joinpath("templates", "report.css").read_text("utf-8") + figures_style()


@cache
def figures_style() -> str:
    """Return the rules for verdicts, tables and bars, which the pages of the house load, too."""
    return files("app.reports").joinpath("templates", "figures.css").read_text("utf-8")


@cache
def style_hash() -> str:
    """Return the style sheet's source expression for a Content Security Policy."""
    return f"'sha256-{base64.b64encode(sha256(style().encode()).digest()).decode()}'"


def render(template: str, words: Words, **shown: object) -> str:
    """Render a template of this package as HTML. All values are escaped."""
    own = Markup(style())  # noqa: S704 - our own file
    return _environment().get_template(template).render(say=words, words=words, style=own, **shown)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("app.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
