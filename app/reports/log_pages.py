"""Pages about the log itself: its last checkpoint, and its consistency with a kept one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version

from app.domain.consistency import Consistency, ExplainingEntry
from app.domain.evidence import SignedHead
from app.reports.page import Fact, Page, Verdict, report_page
from app.reports.words import Words
from app.runtime.settings import Settings


def checkpoint_page(note: str, public_key: str, settings: Settings, language: str) -> str:
    """Return the page with a signed note and the key that verifies it."""
    words = Words(language, settings.zone)
    page = Page(
        title=words("checkpoint_title"),
        intro=[words("checkpoint_note")],
        verdicts=[],
        facts=[Fact(words("public_key"), public_key)],
        text=note,
        steps=[words("checkpoint_keep")],
    )
    return report_page(page, words, settings.organisation)


def consistency_page(found: Consistency, settings: Settings, language: str, *, at: datetime) -> str:
    """Return the page with the verdict as of `at`, and the proof if there is one."""
    words = Words(language, settings.zone)
    return report_page(consistency_content(found, words, at=at), words, settings.organisation)


def consistency_content(found: Consistency, words: Words, *, at: datetime) -> Page:
    """Return what the page shows."""
    return Page(
        title=words("consistency_title"),
        intro=[words("as_of", time=at), words("program_version", version=version("caducee"))],
        verdicts=[Verdict(words(f"outcome_{found.outcome}"), bad=not found.verified)],
        facts=[
            Fact(words("kept_checkpoint"), _head(found.kept, words), [found.kept.root]),
            Fact(words("newest_checkpoint"), _head(found.newest, words), [found.newest.root]),
            *([] if found.explained_by is None else _explanation(found.explained_by, words)),
            Fact(words("public_key"), found.public_key),
        ],
        text=found.proof or "",
        steps=[words(_steps(found))],
    )


def _steps(found: Consistency) -> str:
    if found.explained_by is not None:
        return "renewed_steps"
    return "consistency_steps" if found.verified else "consistency_alarm"


def _explanation(entry: ExplainingEntry, words: Words) -> Iterator[Fact]:
    what = words.code("event", entry.event.replace(".", "_"))
    yield Fact(words("explained_by"), words("explaining_entry", number=entry.sequence, event=what, time=entry.at))
    yield Fact(words("kept_entries"), words("kept_lost", count=entry.lost) if entry.lost else words("kept_whole"))


def _head(head: SignedHead, words: Words) -> str:
    return f"{head.origin}, {words('entries', count=head.size)}"
