"""What the documentation says an entry of each event holds, and whether an entry holds just that."""

from __future__ import annotations

from functools import cache

from app.domain.audit_events import Entry
from tests.unit.docs_tables import rows

OF_EVERY_ENTRY = {"event", "at", "actor", "operator"}


@cache
def documented() -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Of each event the fields that it has, and those that it may have."""
    found = {}
    for row in rows("docs/audit-log.md", "event"):
        named = [part.strip("` ") for part in row[2].split(",") if part.strip("` —")]
        always = frozenset(name for name in named if not name.endswith("?"))
        found[row[0]] = (always, always | {name.rstrip("?") for name in named})
    return found


def contradiction(entry: Entry) -> str | None:
    """How an entry contradicts the documentation; None when it does not."""
    held = {name for name, value in entry._asdict().items() if value is not None} - OF_EVERY_ENTRY
    always, allowed = documented()[entry.event]
    if held - allowed:
        return f"{entry.event} holds {sorted(held - allowed)}, which docs/audit-log.md does not say"
    if always - held:
        return f"{entry.event} lacks {sorted(always - held)}, which docs/audit-log.md promises"
    return None
