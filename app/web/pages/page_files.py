"""The files of the two pages that run scripts, the recipient's and the staff's, and of the house's pages, without any.

A page loads the modules that its first scripts import, found here in their text. A module that is imported with
`import()` is served, but not loaded in advance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

IMPORT = re.compile(rb'"\./([\w-]+\.js)"')
_STATIC_IMPORT = re.compile(rb'^(?:import|\} from)\b[^;(]*"\./([\w-]+\.js)";', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PageFiles:
    """The files of one page. `prefix` is where they are served, `catalogue` the name of its script's sentences."""

    template: str
    catalogue: str
    prefix: str
    scripts: tuple[str, ...]
    others: tuple[str, ...]


RECIPIENT = PageFiles(
    template="receive.html",
    catalogue="recipient",
    prefix="/s/assets/",
    scripts=("address.js", "receive.js"),
    others=("page.css", "mark.svg", "sw.js"),
)
STAFF = PageFiles(
    template="send.html",
    catalogue="staff",
    prefix="/staff/assets/",
    scripts=("send.js",),
    others=("page.css", "send.css", "mark.svg"),
)
HOUSE = PageFiles(
    template="",
    catalogue="",
    prefix="/house/assets/",
    scripts=(),
    others=("page.css", "house.css", "mark.svg"),
)
"""`app.reports.house` renders these pages."""


@cache
def static_file(name: str) -> bytes:
    """Return a file of `app/web/static/`."""
    return files("app.web").joinpath("static", name).read_bytes()


@cache
def names_served(page: PageFiles) -> tuple[str, ...]:
    """Return the names of all files of a page, sorted."""
    return tuple(sorted({*_imported(page, IMPORT), *page.others}))


@cache
def modules_in_advance(page: PageFiles) -> tuple[str, ...]:
    """Return the modules that the page's scripts import at once, without these scripts, sorted: the browser requests
    all of them together.
    """
    return tuple(sorted(_imported(page, _STATIC_IMPORT) - set(page.scripts)))


def _imported(page: PageFiles, pattern: re.Pattern[bytes]) -> set[str]:
    found, pending = set(page.scripts), list(page.scripts)
    while pending:
        new = {name.decode() for name in pattern.findall(static_file(pending.pop()))} - found
        found |= new
        pending.extend(new)
    return found
