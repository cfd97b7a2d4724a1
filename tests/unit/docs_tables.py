"""Reading the tables of the documentation, for the tests that compare them with the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CELL = re.compile(r"(?<!\\)\|")


def page(name: str) -> str:
    """A page's text, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def rows(name: str, column: str) -> list[list[str]]:
    """The rows of every table of a page whose first column has this heading; code marks are taken off the cells."""
    found: list[list[str]] = []
    inside = False
    for line in page(name).splitlines():
        cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
        if not cells:
            inside = False
        elif cells[0] == column:
            inside = True
        elif inside and set(cells[0]) != {"-"}:
            found.append([bare(cell) for cell in cells])
    return found


def bare(cell: str) -> str:
    """A cell that is one piece of code, without its marks; any other cell as it is."""
    return cell[1:-1] if re.fullmatch(r"`[^`]+`", cell) else cell


def shell_blocks(name: str) -> list[str]:
    """The shell examples of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)
