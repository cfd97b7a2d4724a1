"""Both runbooks have one section for every alert that the program can log, none for others, each with all its parts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.docs_tables import ROOT, page

PARTS = {
    "docs/runbook.md": ["Means", "Urgency", "Look at", "Do", "Over when"],
    "docs/runbook.fr.md": ["Sens", "Urgence", "Regarder", "Faire", "Fini quand"],
}
PROGRAM = ("app", "scheduler", "migrations", "cli.py")
UNNAMED = "an alert whose name is not written out"


def alerts_in(source: str) -> Iterator[str]:
    """The names of the events that a module logs with `alert=True`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and any(word.arg == "alert" for word in node.keywords):
            name = node.args[0] if node.args else None
            yield name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else UNNAMED


def alerts() -> set[str]:
    """Those of the whole program."""
    places = [ROOT / name for name in PROGRAM]
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))]
    return {name for path in files for name in alerts_in(path.read_text(encoding="utf-8"))}


def sections(name: str) -> dict[str, list[str]]:
    """Of each alert in a runbook, the parts of its section, in their order."""
    _, *pieces = re.split(r"^### `(\w+)`$", page(name), flags=re.MULTILINE)
    texts = zip(pieces[::2], pieces[1::2], strict=True)
    return {alert: re.findall(r"^- \*\*([^*]+)\*\*\s?:", text, re.MULTILINE) for alert, text in texts}


def test_reader_finds_alerts_however_they_are_written():
    source = 'log.error(\n    "one",\n    alert=True,\n)\nlog.exception("two", alert=True)\nlog.info("three")\n'
    assert set(alerts_in(source)) == {"one", "two"}
    assert set(alerts_in("log.error(name, alert=True)")) == {UNNAMED}


@pytest.mark.parametrize("name", PARTS)
def test_every_alert_has_a_section_and_no_other(name: str):
    assert len(alerts()) > 10
    assert sorted(sections(name)) == sorted(alerts())


@pytest.mark.parametrize("name", PARTS)
def test_every_section_has_all_its_parts(name: str):
    assert {alert: parts for alert, parts in sections(name).items() if parts != PARTS[name]} == {}


def test_both_runbooks_have_the_same_order():
    assert list(sections("docs/runbook.md")) == list(sections("docs/runbook.fr.md"))
