"""The house pages are wholly in one language, whole as HTML, and show what they are given as text."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from app.db.audit_rows import StoredEntry
from app.domain.access_token import Role
from app.domain.audit_events import Event
from app.domain.consistency import Outcome
from app.domain.errors import every_refusal
from app.reports.deliveries import deliveries_content
from app.reports.exposure import exposure_content
from app.reports.forms import others
from app.reports.house import VIEWS, HouseFrame, house_page, views_for
from app.reports.log_pages import consistency_content
from app.reports.log_rows import log_rows
from app.reports.retention import retention_content
from app.reports.words import LANGUAGES, Words
from tests.unit.reports.test_pages import (
    CERTIFICATE,
    DELIVERIES,
    EXPOSURE,
    ID,
    NOW,
    RETENTION,
    SETTINGS,
    WORD,
    Text,
    consistency,
    sentences,
)

EVIL = '"><img src=x onerror=alert(1)>'


def entry(number, **fields):
    content = json.dumps({"sequence": number, "time": "x", "salt": "x", **fields}) if fields else None
    return StoredEntry(number, content, b"", NOW)


ENTRIES = [*(entry(n, event=event.value, actor="token:A", transfer=ID) for n, event in enumerate(Event)), entry(999)]


def frame(words, current, **more):
    shown = HouseFrame(
        organisation="X",
        contact="Y",
        logo=None,
        current=current,
        views=views_for(Role.ADMIN),
        others=others(words.language),
        name="N",
        may_send=True,
        session_token="T",
        asset=lambda name: f"/house/assets/{name}",
        link=lambda path, **_: path,
        here=lambda **_: "/house",
    )
    return replace(shown, **more)


def house_pages(language, typed=""):
    """Every view in each of its states, by name and order."""
    words = Words(language)
    period = {"period": {"since": typed, "until": typed}, "zone": "Z", "wrong": []}
    log = {"events": list(Event), "field": "actor", "zone": "Z", "wrong": [], "following": None}
    asked = SimpleNamespace(event=typed, transfer=typed, actor=typed, since=typed, until=typed, start=5)
    kept = {"note": "note", "key": "key", "kept": typed, "page": None, "wrong": []}
    seen = consistency_content(consistency(Outcome.CONSISTENT), words, at=NOW)
    refused = {"reasons": [], "code": "x", "sign_in": False, "elsewhere": False}
    states: list[tuple[str, str, dict[str, Any]]] = [
        ("overview", "overview", {}),
        ("report", "retention", {"page": retention_content(RETENTION, SETTINGS, words)}),
        ("report", "exposure", {**period, "page": exposure_content(EXPOSURE, SETTINGS, words)}),
        ("report", "deliveries", {**period, "page": deliveries_content(DELIVERIES, words)}),
        ("report", "exposure", {**period, "page": None, "wrong": [words("house_refused_invalid_time")]}),
        ("log", "log", {**log, "asked": asked, "rows": log_rows(ENTRIES, words), "following": 7}),
        ("log", "log", {**log, "asked": asked, "rows": []}),
        ("log", "log", {**log, "asked": asked, "rows": [], "following": 7}),
        ("receipts", "receipts", {"certificate": None, "transfer": typed, "wrong": []}),
        ("receipts", "receipts", {"certificate": CERTIFICATE, "transfer": ID, "wrong": []}),
        ("checkpoint", "checkpoint", kept),
        ("checkpoint", "checkpoint", {**kept, "note": "", "wrong": [words("refused_checkpoint_not_found")]}),
        ("checkpoint", "checkpoint", {**kept, "page": seen}),
        ("refused", "", {**refused, "sign_in": True}),
        ("refused", "", {**refused, "reasons": [words("house_refused_not_allowed")], "elsewhere": True}),
    ]
    return [
        house_page(template, words, frame(words, view), title=words.code("view", view or "log"), **shown)
        for template, view, shown in states
    ]


@pytest.mark.parametrize(("language", "other"), [("fr", "en"), ("en", "fr")])
def test_no_view_has_a_sentence_of_the_other_language(language, other):
    own = set(sentences(language))
    vocabulary = {word for form in own for word in WORD.findall(form)}
    shown = [re.sub(r"\b[a-z]+\.[a-z_]+ ·", "", " ".join(Text(page).said)) for page in house_pages(language)]
    for form in set(sentences(other)) - own:
        fixed = max(re.split(r"\{\w+\}", form), key=len).strip(" .,:\u00a0")
        if len(fixed) > 3 and not set(WORD.findall(fixed)) <= vocabulary:
            assert not any(re.search(rf"(?<!\w){re.escape(fixed)}(?!\w)", text) for text in shown), form


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_view_is_whole_and_shows_what_was_typed_as_text(language):
    for page in house_pages(language, typed=EVIL):
        assert Text(page).open == []
        assert not re.search(r"<img src=x|<script|https?://|\sstyle=", page)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_has_a_caption_and_every_field_a_label(language):
    for page in house_pages(language):
        assert len(re.findall(r"<table[^>]*>\s*<caption", page)) == page.count("<table")
        named = set(re.findall(r'<(?:input|select|textarea)[^>]* id="(\w+)"', page))
        assert named == set(re.findall(r'<label for="(\w+)"', page))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_view_and_event_has_its_words(language):
    words = Words(language)
    needed = {f"{kind}_{view.name}" for kind in ("view", "about") for view in VIEWS} - {"about_overview"}
    needed |= {f"event_{event.replace('.', '_')}" for event in Event}
    assert {key for key in needed if key not in words} == set()
    codes = {key.removeprefix("house_refused_") for key in sentences(language).values() if "house_refused_" in key}
    assert codes <= {refusal.code for refusal in every_refusal()}


def test_a_pruned_entry_says_so_and_salts_are_not_shown():
    rows = log_rows([entry(1, event="file.fetched", actor="recipient", sealed=True, size=3), entry(2)], Words("en"))
    assert (rows[0].meaning, rows[0].details) == ("a download ended", ["sealed=true", "size=3"])
    assert (rows[1].event, rows[1].meaning) == ("", "Its retention is over: the log keeps only its hash.")
