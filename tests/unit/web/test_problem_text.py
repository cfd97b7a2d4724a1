"""Refusals in French: every sentence that the code can refuse with is translated, with its parts filled in."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import InvalidFileName, TooLarge, every_refusal
from app.web import body_rules, wire_text
from app.web.pages.catalogues import NO_BREAK, languages, translations
from app.web.problem_text import problem_document, problem_text, translated

ROOT = Path(__file__).parents[3]
KINDS = {kind.__name__ for kind in every_refusal()}
FILLED = "X1"


def sentences_in(argument: ast.expr) -> Iterator[str]:
    """The sentences of a refusal's first argument, each placeholder filled in."""
    if isinstance(argument, ast.IfExp):
        yield from sentences_in(argument.body)
        yield from sentences_in(argument.orelse)
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in argument.values)


def details() -> Iterator[str]:
    """The details that the code writes where it refuses."""
    for path in sorted(ROOT.glob("app/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", None))
                if name in KINDS and path.parts[-2] != "storage":  # the stores' own errors, never shown
                    yield from sentences_in(node.args[0])


def test_every_refusal_has_a_translated_title():
    assert [kind.code for kind in every_refusal() if translated(kind.title, "fr") == kind.title] == []


def test_every_detail_of_a_refusal_is_translated():
    found = set(details())
    assert len(found) > 40
    assert sorted(text for text in found if translated(text, "fr") == text) == []


def test_every_part_of_a_detail_is_translated():
    parts = [value for module in (wire_text, body_rules) for name, value in vars(module).items() if name.isupper()]
    texts = [part for part in parts if isinstance(part, str)]
    assert len(texts) == 7
    assert [text for text in texts if translated(text, "fr") == text] == []


@pytest.mark.parametrize("language", languages())
def test_a_translation_fills_the_places_of_its_sentence(language):
    for source, text in translations(language).items():
        assert sorted(_places(source)) == sorted(_places(text)), source


def _places(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]


def test_a_sentence_in_a_sentence_is_translated_too():
    refusal = InvalidFileName(f"The file name {wire_text.NOT_UTF_8}.")
    french = f"Le nom du fichier n’est pas en UTF-8{NO_BREAK}: écrivez «{NO_BREAK}%C3%A9{NO_BREAK}»"
    assert problem_document(refusal, 400, "fr")["detail"].startswith(french)


def test_the_text_names_code_and_members_in_either_language():
    refusal = TooLarge(max_bytes=10)
    assert problem_text(refusal, "en").splitlines() == [f"Refused: {refusal.title}", "Code: too_large", "max_bytes: 10"]
    title, code, member = problem_text(refusal, "fr").replace(NO_BREAK, " ").splitlines()
    assert title == "Refusé : Le transfert est plus grand que ce service ne l’accepte."
    assert (code, member) == ("Code : too_large", "max_bytes: 10")


def test_what_is_not_in_the_catalogue_stays_as_it_is():
    assert translated("Nobody wrote this.", "fr") == "Nobody wrote this."
    assert translated("The password is wrong.", "en") == "The password is wrong."
