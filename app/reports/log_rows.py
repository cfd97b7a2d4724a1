"""Entries of the log as rows of a table: what they mean in a language, and their fields under their own names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.db.audit_rows import StoredEntry
from app.reports.words import Words

_SHOWN_APART = frozenset({"sequence", "time", "event", "actor", "transfer", "salt"})


@dataclass(frozen=True, slots=True)
class LogRow:
    """An entry. One that was pruned has only its number and time; `details` are its other fields, `name=value`."""

    number: str
    at: str
    event: str
    meaning: str
    actor: str
    transfer: str
    details: list[str]


def log_rows(entries: Iterable[StoredEntry], words: Words) -> list[LogRow]:
    """Return the entries in their order."""
    return [_row(entry, words) for entry in entries]


def _row(entry: StoredEntry, words: Words) -> LogRow:
    fields = entry.fields()
    event = str(fields.get("event", ""))
    return LogRow(
        number=words.number(entry.sequence),
        at=words.moment(entry.at),
        event=event,
        meaning=words.code("event", event.replace(".", "_")) if fields else words("entry_pruned"),
        actor=str(fields.get("actor", "")),
        transfer=str(fields.get("transfer", "")),
        details=[f"{name}={_plain(value)}" for name, value in fields.items() if name not in _SHOWN_APART],
    )


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
