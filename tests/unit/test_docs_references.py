"""References resolve: G1 to G7 and lessons lead to headings, and those sections name files and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.docs_tables import ROOT, page
from tests.unit.test_house_rules import tracked_files

GUARANTEES, LESSONS = "docs/guarantees.md", "docs/lessons.md"
TEXT = {".conf", ".css", ".html", ".js", ".md", ".po", ".py", ".service", ".toml", ".ts"}

_GUARANTEE = re.compile(r"\bG([0-9]+)\b")
_LESSON = re.compile(r"\blessons?\s+([0-9]+(?:(?:,\s+and\s+|,\s+|\s+and\s+)(?:lessons?\s+)?[0-9]+)*)", re.IGNORECASE)
_DESIGN = re.compile(r"\bdesign(?:'s)?,?\s+(?:sections?\b|[0-9])", re.IGNORECASE)
_NAMED = re.compile(r"`(tests/[\w./-]+\.py)`((?:[:,]\s*`test_\w+`)*)")
_SECTION = re.compile(r"^#+ (?:(G)|Lesson )([0-9]+)\b.*?\n(.*?)(?=^#+ |\Z)", re.MULTILINE | re.DOTALL)


class Named(NamedTuple):
    """A test file that a page names, and one of its functions; None for the file as a whole."""

    path: str
    function: str | None


def sections(name: str) -> dict[int, str]:
    """The text under each numbered heading of a page."""
    return {int(number): text for _, number, text in _SECTION.findall(page(name))}


def guarantees_in(text: str) -> set[int]:
    """The numbers of the guarantees that a text cites."""
    return {int(number) for number in _GUARANTEE.findall(text)}


def lessons_in(text: str) -> set[int]:
    """The numbers of the lessons that a text cites: one, or several after one word."""
    return {int(number) for cited in _LESSON.findall(text) for number in re.findall("[0-9]+", cited)}


def named_in(text: str) -> Iterator[Named]:
    """The tests that a text names: files, and the functions listed after one."""
    for path, listed in _NAMED.findall(text):
        functions = re.findall(r"`(test_\w+)`", listed)
        yield from (Named(path, function) for function in functions or [None])


@cache
def texts() -> dict[str, str]:
    """Every text file of the tree, by its path."""
    files = [path for path in tracked_files() if path.suffix in TEXT or path.name in {"Dockerfile", "Makefile"}]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}


@cache
def docstrings(path: str) -> dict[str, str]:
    """The docstring of each function of a test file."""
    nodes = ast.walk(ast.parse(page(path)))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name: ast.get_docstring(function) or "" for function in functions}


def exists(named: Named) -> bool:
    """Whether a test that a page names is there."""
    if not (ROOT / named.path).is_file():
        return False
    return named.function is None or named.function in docstrings(named.path)


def cites(named: Named, lesson: int) -> bool:
    """Whether a test cites a lesson: the file anywhere, a function in its docstring."""
    text = page(named.path) if named.function is None else docstrings(named.path)[named.function]
    return lesson in lessons_in(text)


# --- the checkers themselves


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (f"Lesson {14}: a", {14}),
        (f"Lesson {14} and {19}: a", {14, 19}),
        (f"(lessons {12}, {38} and\n{39}).", {12, 38, 39}),
        (f"Lesson {36} (CNIL 2021-122), lesson {34}: a", {36, 34}),
        (f"Lesson {10}: 2 of 3", {10}),
        ("no lesson at all, 5", set()),
    ],
)
def test_checker_finds_lessons(text: str, numbers: set[int]):
    assert lessons_in(text) == numbers


def test_checker_finds_guarantees_and_sections_of_a_design():
    assert guarantees_in(f"(G{1}, G{12}) but no G{1}b and no 64G{2}") == {1, 12}
    assert [bool(_DESIGN.search("desi" + rest)) for rest in ("gn, section 5", "gn 3.5:", "gned")] == [True, True, False]


def test_checker_finds_the_tests_that_a_page_names():
    text = "- `tests/a/test_b.py`: `test_c`, `test_d`\n- `tests/e.py`: prose\n`tests/f.py`, `tests/g.py`"
    assert list(named_in(text)) == [
        ("tests/a/test_b.py", "test_c"),
        ("tests/a/test_b.py", "test_d"),
        ("tests/e.py", None),
        ("tests/f.py", None),
        ("tests/g.py", None),
    ]


def test_checker_finds_tests_that_do_not_exist_and_do_not_cite():
    own = str(Path(__file__).relative_to(ROOT))
    here = Named(own, "test_checker_finds_tests_that_do_not_exist_and_do_not_cite")
    assert exists(here)
    assert exists(Named(own, None))
    assert not exists(Named(own, "test_of_nothing"))
    assert not exists(Named("tests/absent.py", None))
    assert not cites(here, 1)


# --- the pages


def test_headings_are_numbered_in_order():
    assert list(sections(GUARANTEES)) == list(range(1, 8))
    assert list(sections(LESSONS)) == list(range(1, len(sections(LESSONS)) + 1))


def test_every_guarantee_says_promise_mechanism_tests_and_limits():
    parts = ("**Promise.**", "**Mechanism**", "**Tests.**", "**Not covered.**")
    texts_of = {
        number: text.replace("**Mechanism.**", "**Mechanism**") for number, text in sections(GUARANTEES).items()
    }
    assert [(number, part) for number, text in texts_of.items() for part in parts if part not in text] == []


@pytest.mark.parametrize("name", [GUARANTEES, LESSONS])
def test_every_section_names_tests_and_all_of_them_exist(name: str):
    named = {number: list(named_in(text)) for number, text in sections(name).items()}
    assert [number for number, tests in named.items() if not tests] == []
    assert [test for tests in named.values() for test in tests if not exists(test)] == []


def test_every_test_that_holds_a_lesson_cites_it():
    named = [(lesson, test) for lesson, text in sections(LESSONS).items() for test in named_in(text)]
    assert [(lesson, test) for lesson, test in named if exists(test) and not cites(test, lesson)] == []


# --- the references to them


def test_every_guarantee_that_is_cited_is_on_the_page():
    known = set(sections(GUARANTEES))
    cited = {path: guarantees_in(text) - known for path, text in texts().items()}
    assert {path: numbers for path, numbers in cited.items() if numbers} == {}


def test_every_lesson_that_is_cited_is_on_the_page():
    known = set(sections(LESSONS))
    cited = {path: lessons_in(text) - known for path, text in texts().items() if path != LESSONS}
    assert {path: numbers for path, numbers in cited.items() if numbers} == {}


def test_nothing_refers_to_sections_of_a_design():
    """Such a document is not in the tree: a reference leads to a page of docs/."""
    assert [path for path, text in texts().items() if _DESIGN.search(text)] == []
