"""Every curl line that is shown ends with an error when it is refused: scripts are made by copying them."""

from __future__ import annotations

import re

import pytest

from tests.unit.docs_tables import ROOT, page

SHOWN = [
    "README.md",
    "app/terminal/welcome.py",
    "app/web/pages/receive.html",
    "app/web/share_text.py",
    "deploy/demo.py",
]
PAGES = [*SHOWN, *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]

EXPECTED_TO_BE_REFUSED = {'curl -s "$SHARE/claim" -H "Content-Type: application/json" -d "$PROOF"'}
"""Step 4 of the README, which shows the refusal."""

_LINE = re.compile(r"curl (?=-|\"|').*")
_SENDS_OR_STORES = re.compile(
    r" -[a-zA-Z]*[TdoO][a-zA-Z]* | -X (?:POST|PUT|DELETE)| --(?:data|form|upload-file|output|json)\b| > "
)
_FAILS = re.compile(r" (?:--fail(?:-with-body)?|-[a-zA-Z]*f[a-zA-Z]*) ")


def lines(text: str) -> list[str]:
    """The curl lines of a text, continued ones joined, that send something or write a response to a file."""
    joined = re.sub(r"\\{1,2}\n\s*", " ", text)
    return [line for line in _LINE.findall(joined) if _SENDS_OR_STORES.search(f" {line} ")]


def code(name: str) -> str:
    """The text of a file; of a page, only its blocks of code."""
    text = page(name)
    return "\n".join(re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)) if name.endswith(".md") else text


def passes_over_refusals(text: str) -> list[str]:
    return [line for line in lines(text) if not _FAILS.search(line) and line not in EXPECTED_TO_BE_REFUSED]


@pytest.mark.parametrize("name", PAGES)
def test_curl_lines_end_with_an_error_when_refused(name: str):
    assert passes_over_refusals(code(name)) == []


@pytest.mark.parametrize("name", [*SHOWN, "docs/http-api.md", "docs/deposit.md"])
def test_checker_finds_the_lines_of_each_page(name: str):
    assert lines(code(name))


def test_checker_finds_lines_that_pass_over_a_refusal():
    text = "x=$(curl -sT a $AT)\ncurl --fail -T a \\\n  $AT\ncurl -OJ $AT\ncurl -s $AT > f\ncurl $AT\ncurl -fT a $AT"
    assert passes_over_refusals(text) == ["curl -sT a $AT)", "curl -OJ $AT", "curl -s $AT > f"]
