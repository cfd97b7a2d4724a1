"""Reads rows from PostgreSQL's COPY text, which dumps contain. No statement of a dump is run: it could be any SQL."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

Row = Mapping[str, str | None]

_COPY = re.compile(r'COPY (?:"?\w+"?\.)?"?(\w+)"? \(([^)]*)\) FROM stdin;', re.ASCII)
_END = "\\."
_ESCAPED = re.compile(r"\\(.)")
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class DumpNotRead(Exception):
    """A dump or base backup of PostgreSQL could not be read."""


def rows_of_dump(lines: Iterable[str], tables: Collection[str]) -> Iterator[tuple[str, Row]]:
    """Yield table and row, by column, of these tables in a dump's text (pg_dump as SQL, with COPY). Raises DumpNotRead
    for one that ends within a table.
    """
    table, columns, within = "", [""], False
    for line in (each.rstrip("\n") for each in lines):
        if not within:
            begun = _COPY.fullmatch(line)
            if begun is not None:
                table, columns, within = begun[1], [name.strip(' "') for name in begun[2].split(",")], True
        elif line == _END:
            within = False
        elif table in tables:
            yield table, row_of(line, columns)
    if within:
        raise DumpNotRead(f"the dump ends within the table {table}: it is truncated")


def row_of(line: str, columns: list[str]) -> Row:
    """Return one line of COPY text by column. Raises DumpNotRead if it has another number of columns."""
    values = line.split("\t")
    if len(values) != len(columns):
        raise DumpNotRead("a row of the dump has another number of columns than its table")
    return dict(zip(columns, (None if value == "\\N" else _plain(value) for value in values), strict=True))


def _plain(value: str) -> str:
    return _ESCAPED.sub(lambda escaped: _CONTROLS.get(escaped[1], escaped[1]), value) if "\\" in value else value
