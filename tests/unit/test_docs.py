"""Every link in the documentation leads to an existing file, and to a heading in it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

INLINE_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
CODE = re.compile(r"^(```|~~~).*?^\1\s*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """The targets of all links in a page, those to other sites and those inside code left out."""
    prose = CODE.sub("", text)
    targets = [*INLINE_LINK.findall(prose), *REFERENCE.findall(prose)]
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(text: str) -> set[str]:
    """The fragments that a page answers to: its headings, as forges derive them, and its explicit anchors."""
    seen: dict[str, int] = {}
    found = set(ANCHOR.findall(text))
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return found


def broken(page: Path, target: str) -> str | None:
    """Why the link `target` in `page` leads nowhere, or None."""
    path, _, fragment = unquote(target).partition("#")
    aim = (ROOT / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve() if path else page
    if not aim.is_relative_to(ROOT):
        return f"{target}: outside the repository"
    if not aim.exists():
        return f"{target}: no such file"
    if fragment and aim.suffix == ".md" and fragment not in anchors(aim.read_text(encoding="utf-8")):
        return f"{target}: no such heading"
    return None


def test_checker_finds_broken_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One\n## The `log`, and why\n```\n# not a heading\n```\n## One\n", encoding="utf-8")
    good = ["page.md", "#one", "#one-1", "page.md#the-log-and-why", "/page.md"]
    assert [broken(page, target) for target in good] == [None] * len(good)
    bad = ["absent.md", "#two", "#not-a-heading", "../elsewhere.md"]
    assert [target for target in bad if broken(page, target) is None] == []


def test_checker_finds_every_kind_of_link():
    text = '[a](a.md) ![b](b.png "title") [c](<c.md>)\n\n[d]: d.md\n\n`[e](e.md)` [f](https://example.org) [g](#g)\n'
    assert links(text) == ["a.md", "b.png", "c.md", "#g", "d.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    found = [broken(page, target) for target in links(page.read_text(encoding="utf-8"))]
    assert [reason for reason in found if reason] == []
