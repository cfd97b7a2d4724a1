"""The pages of the house, for auditors and administrators: their views, and the frame around each.

They are rendered here, from the same reports as the commands and the JSON, and run no script (docs/adr/0032).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.access_token import ADMINISTRATORS, AUDITORS, Role
from app.reports.page import render
from app.reports.words import Words


@dataclass(frozen=True, slots=True)
class View:
    """A view, its address, and the roles that may open it. Its words are the sentences `view_<name>` (its name) and
    `about_<name>` (one line on what it is for).
    """

    name: str
    path: str
    roles: tuple[Role, ...] = AUDITORS


VIEWS = (
    View("overview", "/house"),
    View("retention", "/house/retention"),
    View("exposure", "/house/exposure"),
    View("deliveries", "/house/deliveries"),
    View("log", "/house/log"),
    View("receipts", "/house/receipts"),
    View("checkpoint", "/house/checkpoint"),
    View("tokens", "/house/tokens", ADMINISTRATORS),
    View("sessions", "/house/sessions", ADMINISTRATORS),
    View("service", "/house/service", ADMINISTRATORS),
)
"""In the order of the navigation."""


@dataclass(frozen=True, slots=True)
class HouseFrame:
    """What surrounds a view: whose house it is, who is signed in, and the ways to the other views.

    `views` are those that this person may open, none for a stranger; `current` is the name of the view that is shown.
    `asset` returns the address of a style or image; `link` that of a view, in this language, with parameters;
    `here` that of what is shown, with some parameters changed.
    """

    organisation: str
    contact: str
    logo: str | None
    current: str
    views: Sequence[View]
    others: Sequence[Words]
    name: str
    may_send: bool
    session_token: str
    asset: Callable[[str], str]
    link: Callable[..., str]
    here: Callable[..., str]


def house_page(template: str, words: Words, frame: HouseFrame, *, title: str, **shown: object) -> str:
    """Return a view as HTML, from the template `house_<template>.html`, which extends `house.html`."""
    return render(f"house_{template}.html", words, house=frame, title=title, **shown)


def views_for(role: Role) -> tuple[View, ...]:
    """Return the views that a role may open, in the order of the navigation."""
    return tuple(view for view in VIEWS if role in view.roles)
