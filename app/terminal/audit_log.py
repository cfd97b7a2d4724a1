"""`caducee audit log`: print log entries as a table or as JSON, with filters; optionally follow the log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated

import typer

from app.actions.read_log import entry_filter, follow_log, read_log
from app.db.audit_rows import StoredEntry
from app.terminal.console import AsJson, nobody_reads, put_json_array, put_json_text, put_rows
from app.terminal.opened import opened
from app.terminal.table import Column

COLUMNS = (
    Column("NO", 7),
    Column("TIME", 20),
    Column("EVENT", 20),
    Column("ACTOR", 28, rank=3),
    Column("TRANSFER", 22, rank=1),
    Column("SHARE", 22, rank=4),
    Column("WHAT", 60, rank=2, text=True),
)
_SHOWN = {"sequence", "time", "event", "actor", "transfer", "share", "salt"}

Since = Annotated[str | None, typer.Option("--from", help="From this date, or time with its zone (RFC 3339).")]
Until = Annotated[str | None, typer.Option("--to", help="Before this time; a date includes that whole day, UTC.")]


def log(
    *,
    event: Annotated[str | None, typer.Option(help="Only this event, such as file.fetched.")] = None,
    transfer: Annotated[str | None, typer.Option(help="Only entries of this transfer.")] = None,
    share: Annotated[str | None, typer.Option(help="Only entries of this share.")] = None,
    actor: Annotated[
        str | None, typer.Option(help="Only entries of this actor: recipient, operator, token:<id> ...")
    ] = None,
    since: Since = None,
    until: Until = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last N entries.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Then print each new entry as it is written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print log entries, oldest first; with --follow, the last ones and then each new one."""
    wanted = entry_filter(event=event, transfer=transfer, share=share, actor=actor, since=since, until=until)
    with opened() as resources, suppress(KeyboardInterrupt):
        if follow:
            entries: Iterable[StoredEntry] = follow_log(resources, wanted, last=last or 10)
        else:
            entries = read_log(resources, wanted, last=last)
        if not as_json:
            put_rows(COLUMNS, map(_row, entries))
        elif follow:
            for entry in entries:
                put_json_text(_json(entry))
                if nobody_reads():
                    return
        else:
            put_json_array('{"entries": ', map(_json, entries), lambda: ', "next": null}')


def _json(entry: StoredEntry) -> str:
    return entry.content or json.dumps({"sequence": entry.sequence})


def _row(entry: StoredEntry) -> tuple[object, ...]:
    fields = entry.fields()
    rest = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items() if name not in _SHOWN)
    known = (fields.get(name) for name in ("event", "actor", "transfer", "share"))
    return (entry.sequence, entry.at, *known, rest if fields else "(pruned)")
