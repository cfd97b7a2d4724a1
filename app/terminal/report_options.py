"""The option `--lang` of commands that write a page."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class PageLanguage(StrEnum):
    """The languages of pages (`app/reports/words.py`)."""

    EN = "en"
    FR = "fr"


Language = Annotated[PageLanguage, typer.Option("--lang", help="The language of the page.")]
