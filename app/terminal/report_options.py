"""The options of commands that write a report, also as a page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class PageLanguage(StrEnum):
    """The languages of pages (`app/reports/words.py`)."""

    EN = "en"
    FR = "fr"


Since = Annotated[str, typer.Option("--from", help="A date, or a time with its zone (RFC 3339).")]
Until = Annotated[str | None, typer.Option("--to", help="The same; a date includes that whole day. Default: now.")]
PageFile = Annotated[Path | None, typer.Option("--html", help="Also write the report to this file, as one HTML page.")]
TextFile = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead, once complete.")]
Language = Annotated[PageLanguage, typer.Option("--lang", help="The language of the page.")]
