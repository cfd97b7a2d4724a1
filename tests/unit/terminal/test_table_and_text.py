"""Tables fit any width without cutting an id, and no text harms a console."""

import io
import json
import sys

import pytest

from app.terminal import console
from app.terminal.plain_text import ON_ENCODING_ERROR, visible, visible_json
from app.terminal.table import Column, lay_out

ID = "3iM5xqAbCdEfGhIjKlMn-A"
COLUMNS = (
    Column("ID"),
    Column("NAME", text=True),
    Column("STATE", rank=1),
    Column("EXPIRES", rank=2),
    Column("OWNER", rank=3, text=True),
)
ROW = (ID, "laboratory of the east wing, weekly export", "live", "2026-03-01T00:00:00Z", "token:laboratory, weekly")


def drawn(width):
    layout = lay_out(COLUMNS, [ROW], width)
    return layout, [*layout.heading(), *layout.lines(ROW)]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_a_table_fits_every_width_and_never_cuts_an_id(width):
    layout, lines = drawn(width)
    assert any(line.startswith(ID) for line in lines)
    assert " ".join(part for line in lines for part in line.split()).count("laboratory") >= 1
    assert all(len(line) <= max(width, len(ID) + 2 + 16) for line in lines)
    assert set(layout.left_out) <= {"STATE", "EXPIRES", "OWNER"}


def test_the_least_important_columns_go_first():
    assert [drawn(width)[0].left_out for width in (200, 80, 60, 40)] == [
        [],
        ["OWNER"],
        ["EXPIRES", "OWNER"],
        ["STATE", "EXPIRES", "OWNER"],
    ]


def test_a_pipe_gets_every_column_in_one_line():
    _, lines = drawn(None)
    assert len(lines) == 2
    assert [cell in lines[1] for cell in ROW] == [True] * len(ROW)


@pytest.mark.parametrize(
    "harmful", ["\x1b[2J", "\r", "\n", "\u202e", "\u2066", "\u2028", "\x9b31m", "\udc80", "\x7f", "\0"]
)
def test_what_moves_a_cursor_or_turns_text_round_is_shown_as_an_escape(harmful):
    shown = visible(f"a{harmful}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    document = visible_json(json.dumps({"name": harmful}, ensure_ascii=False))
    assert document.isprintable()
    assert json.loads(document) == {"name": harmful}


def test_plain_text_stays_as_it_is():
    text = "Hôpital Saint-Éloi, 5\u00a0% — 東京 ✓"
    assert visible(text) == visible_json(text) == text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_encoding_of_a_console_makes_a_command_fail(encoding, monkeypatch):
    """Rich #68. JSON loses nothing."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors=ON_ENCODING_ERROR))
    text = "Hôpital Œuvre, 5 % … 東京 \udc80"
    console.put(text)
    console.put_json({"name": text})
    line, document = raw.getvalue().decode(encoding).split("\n", 1)
    assert line.startswith("Hôpital" if encoding != "ascii" else "Hopital OEuvre")
    assert json.loads(document)["name"] == text


def test_a_full_disk_fails_in_one_line(monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space"):
            console.put("x")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()
