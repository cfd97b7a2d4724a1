"""How an issued share is shown to its depositor: a text to paste into a mail, and the password to tell by telephone."""

from __future__ import annotations

import locale
import os
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from app.terminal.plain_text import visible, visible_lines
from app.terminal.report_options import PageLanguage

MailLanguage = Annotated[
    PageLanguage | None,
    typer.Option(
        "--lang", help="The language of the text to mail; --json has that text only with it. Default: this machine's."
    ),
]


def blocks(recipient: str, *, mail: str, password: str) -> str:
    """Return the two blocks, each for a channel of its own."""
    name = visible(recipient)
    return (
        f"--- for {name}: send this by mail ---\n{visible_lines(mail.rstrip())}\n\n"
        f"--- for {name}: tell this by telephone, never by mail ---\n{visible(password)}\n\n"
    )


def mail_or_link(mail: str | None, *, link: str, expires_at: str) -> str:
    """Return the text to mail; without one, the link and its end."""
    return mail or f"{link}\nexpires   {local_time(expires_at)}"


def local_time(moment: str) -> str:
    """Return a time of the service (RFC 3339) in the machine's zone, with its offset: `2026-01-31 09:15+01:00`."""
    try:
        return datetime.fromisoformat(moment).astimezone().isoformat(" ", "minutes")
    except ValueError:
        return moment


def language_of_mail(chosen: PageLanguage | None) -> str:
    """Return the language that was chosen, else the one of the user's locale if the service has it, else English."""
    if chosen is not None:
        return chosen.value
    named = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), None)
    with suppress(ValueError):  # a locale that Python does not know
        named = named or locale.getlocale()[0]  # Windows has no such variables, and names it `French_France`
    code = locale.normalize((named or "").partition("_")[0].partition(".")[0])[:2]
    return code if code in set(PageLanguage) else PageLanguage.EN.value
