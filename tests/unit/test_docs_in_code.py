"""Comments and docstrings name only what exists: files, commands, options, make targets, settings, pages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import PurePosixPath

import pytest
import typer

from app.runtime.settings import Settings
from cli import build
from tests.unit.docs_tables import ROOT, page
from tests.unit.test_docs_readme import unknown_part
from tests.unit.test_house_rules import tracked_files

_FILE = re.compile(r"(?<![\w./<>*-])((?:[\w-]+/)*[\w-]+\.(?:conf|css|html|js|md|po|py|service|toml))\b(?![(/*])")
_COMMAND = re.compile(r"`caducee ([a-z][^`]*)`")
_TARGET = re.compile(r"`make ([a-z-]+)")
_VARIABLE = re.compile(r"\bCADUCEE_[A-Z0-9_]*[A-Z0-9]\b")

PATTERNS = {"NNNN_what.py", "test_x.py"}
"""Names that stand for many files."""

CLIENT = {"CADUCEE_SERVER", "CADUCEE_TOKEN", "CADUCEE_CLIENT_KEY", "CADUCEE_PASSWORD_COMMAND", "CADUCEE_PORT"}
NO_SETTINGS = {"CADUCEE_FAULT", "CADUCEE_FAULT_ONCE"}
"""Set by the crash tests alone."""


def prose_of(path: str) -> str:
    """What a file says beside its code: docstrings and comments, of a script its block comments, else comments by #."""
    text = page(path)
    if path.endswith(".py"):
        return "\n".join([*_strings_that_stand_alone(text), *_comments(text)])
    if path.endswith((".js", ".css", ".ts")):
        return "\n".join(re.findall(r"/\*.*?\*/", text, re.DOTALL))
    return "\n".join(re.findall(r"#.*", text))


def _strings_that_stand_alone(source: str) -> list[str]:
    """Docstrings, those below a constant included."""
    alone = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    return [node.value for node in alone if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


@cache
def prose() -> dict[str, str]:
    """The prose of every file of code, by its path."""
    suffixes = {".conf", ".css", ".js", ".py", ".service", ".toml", ".ts"}
    files = [path for path in tracked_files() if path.suffix in suffixes or path.name in {"Dockerfile", "Makefile"}]
    return {path: prose_of(path) for path in (str(file.relative_to(ROOT)) for file in files)}


@cache
def tails() -> frozenset[str]:
    """Every way to name a file of the tree: its name, with as many of its folders as one likes."""
    paths = [file.relative_to(ROOT).parts for file in tracked_files()]
    return frozenset("/".join(parts[start:]) for parts in paths for start in range(len(parts)))


def absent_files(text: str) -> set[str]:
    """The files that a text names and that are not in the tree."""
    named = set(_FILE.findall(text))
    return {name for name in named if name not in tails() and PurePosixPath(name).name not in PATTERNS}


def unknown_commands(text: str) -> set[str]:
    """The commands that a text names and that the command line does not know, as they are written."""
    return {typed for typed in _COMMAND.findall(text) if unknown_part(_tree(), typed)}


@cache
def _tree() -> typer.core.TyperGroup:
    tree = typer.main.get_command(build())
    assert isinstance(tree, typer.core.TyperGroup)
    return tree


def unknown_targets(text: str) -> set[str]:
    """The make targets that a text names and that the Makefile has not."""
    return set(_TARGET.findall(text)) - set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))


def unknown_variables(text: str) -> set[str]:
    """The variables that a text names and that nothing reads."""
    settings = {f"CADUCEE_{name.upper()}" for name in Settings.model_fields}
    return set(_VARIABLE.findall(text)) - settings - CLIENT - NO_SETTINGS


# --- the checkers themselves


def test_prose_is_comments_and_docstrings_and_no_code():
    source = '"""One."""\nX = "no"  # two\n"""Three."""\n\n\ndef f():\n    """Four."""\n    return "no"\n'
    assert [*_strings_that_stand_alone(source), *_comments(source)] == ["One.", "Three.", "Four.", "# two"]


def test_checkers_find_what_does_not_exist():
    assert absent_files("see `app/main.py`, key_vault.py and absent.py, app/absent.md; NNNN_what.py") == {
        "absent.py",
        "app/absent.md",
    }
    assert unknown_commands("`caducee serve --port 1`, `caducee fly`, `caducee sweep --high`") == {
        "fly",
        "sweep --high",
    }
    assert unknown_targets("`make run`, `make coffee`") == {"coffee"}
    assert unknown_variables("CADUCEE_VAULT, CADUCEE_TOKEN, CADUCEE_TEA") == {"CADUCEE_TEA"}


def test_prose_is_read_of_every_kind_of_file():
    paths = prose()
    assert {path.rpartition(".")[2] for path in paths} >= {"css", "js", "py", "service", "toml"}
    assert "All settings, read once" in paths["app/runtime/settings.py"]
    assert "Everything is on" in paths["pyproject.toml"]


# --- what they find


def test_the_cryptography_lists_its_modules():
    modules = {path.stem if path.is_file() else path.name for path in (ROOT / "app/crypto").glob("[a-z]*")}
    listed = set(re.findall(r"`(\w+)`", page("app/crypto/__init__.py").partition("needs them:")[2]))
    assert listed == modules


@pytest.mark.parametrize(
    "finder", [absent_files, unknown_commands, unknown_targets], ids=lambda finder: finder.__name__
)
def test_everything_that_is_named_exists(finder):
    found = {path: finder(text) for path, text in prose().items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_every_command_that_is_named_to_a_user_exists():
    """In messages, whose strings are no prose of the code's."""
    messages = {path: page(path) for path in prose() if not path.startswith("tests/")}
    found = {path: unknown_commands(text) for path, text in messages.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_every_variable_that_is_named_is_read():
    """In tests, variables may be misspelt on purpose; elsewhere each is a setting, or one of those that cannot be."""
    found = {path: unknown_variables(text) for path, text in prose().items() if not path.startswith("tests/")}
    assert {path: names for path, names in found.items() if names} == {}
