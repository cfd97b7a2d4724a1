"""The layout of tables: which columns fit, and the lines of a row. Cells are never cut: text may be broken at spaces,
and columns that do not fit are left out, by rank. Ids have no spaces, so they are never broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

GAP = "  "
MIN_TEXT = 16
"""Text is not broken into lines that are narrower than this many columns of the terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `width`: its minimum. `rank`: the highest is left out first, 0 never. `text`: may be broken
    at spaces.
    """

    name: str
    width: int = 0
    rank: int = 0
    text: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that fit, by position in the row, and their widths; None: as wide as the cell is."""

    columns: Sequence[Column]
    shown: tuple[int, ...]
    widths: tuple[int, ...]
    breaks: bool

    @property
    def left_out(self) -> list[str]:
        """The names of the columns that do not fit."""
        return [column.name for place, column in enumerate(self.columns) if place not in self.shown]

    def heading(self) -> Iterator[str]:
        """Yield the lines of the heading."""
        return self.lines([column.name for column in self.columns])

    def lines(self, cells: Sequence[str]) -> Iterator[str]:
        """Yield the lines of one row."""
        parts = [
            _broken(cells[place], width) if self.breaks and self.columns[place].text else [cells[place]]
            for place, width in zip(self.shown, self.widths, strict=True)
        ]
        for line in zip_longest(*parts, fillvalue=""):
            yield GAP.join(_padded(cell, width) for cell, width in zip(line, self.widths, strict=True)).rstrip()


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Layout:
    """Return the layout for a terminal `width` columns wide; None: everything is shown, in one line per row."""
    natural = [
        max([column.width, cell_len(column.name), *(cell_len(row[place]) for row in rows)])
        for place, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if width is None:
        return Layout(columns, tuple(shown), tuple(natural), breaks=False)
    least = [
        min(wide, max([MIN_TEXT, *(cell_len(word) for row in rows for word in row[place].split(" "))]))
        if columns[place].text
        else wide
        for place, wide in enumerate(natural)
    ]
    while _total(least, shown) > width and any(columns[place].rank for place in shown):
        shown.remove(max(shown, key=lambda place: columns[place].rank))
    widths = dict(zip(shown, (least[place] for place in shown), strict=True))
    room = width - _total(least, shown)
    for place in shown:  # text columns share what is left, the first one first
        extra = min(max(0, room), natural[place] - widths[place])
        widths[place] += extra
        room -= extra
    return Layout(columns, tuple(shown), tuple(widths.values()), breaks=True)


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[place] for place in shown) + len(GAP) * (len(shown) - 1)


def _broken(text: str, width: int) -> list[str]:
    """Break the text at spaces into lines of at most `width`; a longer word stays whole."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))
