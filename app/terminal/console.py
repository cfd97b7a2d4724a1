"""Command output: tables for people, one JSON document for programs, failures on one line of stderr.

Exit codes: 0 success, 1 refused or a check failed, 2 could not be done, wrong command line, or a defect.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from app.client.errors import ServiceRefused
from app.domain.errors import Refusal

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

REFUSED = 1
CANNOT = 2

_err = Console(stderr=True, highlight=False)


def run(build: Callable[[], Callable[[], Any]]) -> int:
    """Build the command tree and run it. Return the exit code."""
    os.umask(0o077)  # files that a command creates are accessible to its user only
    try:
        build()()
    except Refusal as refusal:
        say(f"refused: {refusal.detail} ({refusal.code})")
        return REFUSED
    except ServiceRefused as refusal:
        say(f"{'refused' if refusal.code else 'cannot'}: {refusal}")
        return REFUSED if refusal.code else CANNOT
    except Exception as error:  # noqa: BLE001 - Python's own exit code is 1, which here means "a check failed"
        if _is_known(error):
            say(f"cannot: {one_line(error)}")
        else:
            traceback.print_exception(error)  # to be reported; no local variables, which could hold a key
        return CANNOT
    return 0


def _is_known(error: Exception) -> bool:
    """Return whether one line explains the error: our own errors, wrong settings, I/O errors. Others are defects."""
    return type(error).__module__.startswith(("app.", "pydantic")) or isinstance(error, OSError)


def one_line(error: Exception) -> str:
    """Return the error as one line; for wrong settings, the variables, their values and the reasons."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        from app.runtime.setting_display import setting_line  # the client has no settings, and no pydantic

        return "; ".join(setting_line(each) for each in errors())
    return str(error)


def say(text: str) -> None:
    """Print a message for the user to stderr."""
    _err.print(text, markup=False, soft_wrap=True)


def put(text: str) -> None:
    """Print a line of data to stdout, unchanged."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def put_json(document: object) -> None:
    """Print one JSON document to stdout. Times as RFC 3339, UTC."""
    put(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))


def put_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; 500 columns wide if stdout is not a terminal."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else _plain(cell) for cell in row))
    width = None if sys.stdout.isatty() else 500
    Console(highlight=False, width=width, markup=False).print(table)


def put_rows(columns: Sequence[tuple[str, int]], rows: Iterable[Sequence[object]]) -> None:
    """Print a table row by row, in constant memory. Each column has a minimum width; longer cells exceed it."""
    put("  ".join(name.ljust(width) for name, width in columns).rstrip())
    for row in rows:
        cells = ("" if cell is None else _plain(cell) for cell in row)
        put("  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, columns, strict=True)).rstrip())


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)
