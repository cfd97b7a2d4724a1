"""Command output: tables for people, one JSON document for programs, failures on one line of stderr.

Exit codes: 0 success, 1 refused or a check failed, 2 could not be done, wrong command line, or a defect, 130
interrupted from the keyboard. They do not depend on the reader of stdout: a command whose output is no longer read
still runs to its verdict.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from app.client.errors import ServiceRefused, ServiceUnavailable
from app.domain.audit_events import Reason
from app.domain.errors import Refusal
from app.terminal.plain_text import ON_ENCODING_ERROR, visible, visible_json, visible_lines
from app.terminal.table import Column, Layout, lay_out

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

Why = Annotated[Reason | None, typer.Option("--reason", help="Why, for the log. Never free text.")]

REFUSED = 1
CANNOT = 2
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the client's commands, when a later attempt may succeed."""


INTERRUPTED = 130
"""What shells report for a program that SIGINT ended; Typer exits with it, too."""

_GO_ON = frozenset({"send", "get"})
"""Commands that go on when they are started again."""


class OutputUnread(Exception):
    """Nobody read stdout to the end of a document, of which a part is worth nothing."""


Cell = object
"""What a table shows: None as nothing, a time as RFC 3339, `true` and `false` as settings and JSON write them, anything
else as its text.
"""


def run(build: Callable[[], Callable[[], Any]]) -> int:
    """Build the command tree and run it. Return the exit code."""
    os.umask(0o077)  # files that a command creates are accessible to its user only
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ON_ENCODING_ERROR)
    try:
        return _run(build)
    except KeyboardInterrupt:
        return _interrupted()


def _run(build: Callable[[], Callable[[], Any]]) -> int:
    stdout = sys.stdout
    try:
        build()()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            raise KeyboardInterrupt from None
        if sys.stdout is stdout:
            raise
        sys.stdout = stdout
        return _closed_pipe()
    except Refusal as refusal:
        say(f"refused: {refusal.detail} ({refusal.code})")
        return REFUSED
    except ServiceUnavailable as failure:
        say(f"cannot: {failure}; try again later")
        return TRY_AGAIN
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


def _interrupted() -> int:
    """Say that the user interrupted the command, and return the exit code."""
    then = "; start the same command again to go on" if set(sys.argv[1:2]) & _GO_ON else ""
    say(f"interrupted{then}")
    return INTERRUPTED


def _closed_pipe() -> int:
    """Return the exit code after a closed pipe that click noticed: it replaces stdout and exits 1, which here means
    "refused". Commands handle a closed stdout themselves, so it was that of a help text, or another pipe.
    """
    if {"-h", "--help"}.intersection(sys.argv):
        _write_into_nothing()
        return 0
    say("cannot: a pipe or connection was closed at its other end")
    return CANNOT


def _is_known(error: Exception) -> bool:
    """Return whether one line explains the error: our own errors, wrong settings, I/O errors. Others are defects."""
    return type(error).__module__.startswith(("app.", "pydantic")) or isinstance(error, OSError | EOFError)


def one_line(error: Exception) -> str:
    """Return the error as one line; for wrong settings, the variables, their values and the reasons."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        from app.runtime.setting_display import setting_line  # the client has no settings, and no pydantic

        return "; ".join(setting_line(each) for each in errors())
    return _os_line(error) if isinstance(error, OSError) else str(error)


def _os_line(error: OSError) -> str:
    """Return what the system refused, and for which file, without error numbers."""
    if error.strerror is None:
        return str(error)
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file or folder {error.filename}"
    what = error.strerror[:1].lower() + error.strerror[1:]
    return what if error.filename is None else f"{error.filename}: {what}"


def say(text: str) -> None:
    """Print a message for the user to stderr."""
    if sys.stderr is not None:
        sys.stderr.write(f"{visible_lines(text)}\n")
        sys.stderr.flush()


def put(text: str) -> None:
    """Print data to stdout, one or several lines, with control characters as escapes."""
    _write(f"{visible_lines(text)}\n")


def put_exact(text: str) -> None:
    """Write a document of a fixed format, such as a signed note, to stdout: in UTF-8 whatever the console's encoding.
    Raises OutputUnread, OSError: part of a document must not pass for the whole.
    """
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _write_into_nothing()
        raise OutputUnread("stdout was closed before everything was written") from None


def put_json(document: object) -> None:
    """Print one JSON document to stdout. Times as RFC 3339, UTC."""
    put_json_text(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))


def put_json_text(text: str) -> None:
    """Print JSON, or a part of a document, with escapes for what the console cannot show: nothing is replaced."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "")
    if encoding != "utf8" and not text.isascii():
        text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    _write(f"{visible_json(text)}\n")


def put_json_array(before: str, items: Iterable[str], after: Callable[[], str]) -> None:
    """Print a JSON document that ends in an array, one item a line, in constant memory: `before` is what precedes the
    items, `after()` what follows them.
    """
    put_json_text(f"{before}[")
    separator = " "
    for item in items:
        put_json_text(f"{separator}{item}")
        separator = ","
        if nobody_reads():
            break
    put_json_text(f"]{after()}")


def put_table(columns: Sequence[str | Column], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table that fits the terminal: columns are left out by rank. Of a table with names only, every column is
    shown, and the last one may be broken into lines.
    """
    cells = [_cells(row) for row in rows]
    layout = lay_out(_columns(columns), cells, terminal_width())
    _put_lines(layout, cells)


def put_rows(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table row by row, in constant memory. Each column has a minimum width; longer cells exceed it."""
    _put_lines(lay_out(columns, [], terminal_width()), (_cells(row) for row in rows))


def terminal_width() -> int | None:
    """Return the terminal's width; None for a pipe or a file, which takes every column."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def nobody_reads() -> bool:
    """Return whether stdout was closed by its reader, as `head` does: further output would be for nobody."""
    return _Output.unread


def moment(value: datetime) -> str:
    """Return a time as commands print it: RFC 3339, UTC."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


class _Output:
    """The state of stdout."""

    unread = False


def _write(text: str) -> None:
    """Write to stdout; into nothing once its reader has gone. Raises OSError, for example on a full disk."""
    if sys.stdout is None:
        raise OSError("stdout is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _write_into_nothing()


def _write_into_nothing() -> None:
    """Redirect stdout, also for what Python flushes when it exits."""
    _Output.unread = True
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - only its descriptor is needed
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def _columns(columns: Sequence[str | Column]) -> list[Column]:
    last = len(columns) - 1
    return [
        column if isinstance(column, Column) else Column(column, text=place == last)
        for place, column in enumerate(columns)
    ]


def _put_lines(layout: Layout, rows: Iterable[Sequence[str]]) -> None:
    def lines() -> Iterator[str]:
        yield from layout.heading()
        for row in rows:
            yield from layout.lines(row)

    try:
        for line in lines():
            put(line)
            if nobody_reads():
                return
    finally:
        if layout.left_out:
            say(f"too narrow for {', '.join(layout.left_out)}: see a wider window, or --json")


def _cells(row: Sequence[Cell]) -> list[str]:
    return ["" if cell is None else visible(_plain(cell)) for cell in row]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return moment(value) if isinstance(value, datetime) else str(value)
