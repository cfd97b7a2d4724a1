"""Everything that the README and other pages tell people to type exists: targets, commands, options, routes, files."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from cli import build
from tests.unit.docs_tables import ROOT, page, rows, shell_blocks
from tests.unit.test_docs_tables import routes

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def words_of(block: str) -> list[str]:
    """The words of a shell block. Raises ValueError where quotes do not match."""
    return shlex.split(block.replace("\\\n", " "), comments=True)


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_exists(name: str):
    targets = set(_TARGET.findall(page("Makefile")))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page(name), re.MULTILINE))
    assert named - targets == set()


def test_the_two_commands_are_there():
    assert {"run", "test", "demo"} <= set(_TARGET.findall(page("Makefile")))
    assert "make run" in shell_blocks("README.md")[0]
    assert "make test" in shell_blocks("README.md")[0]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_that_is_named_exists(name: str):
    """`caducee ...` in code, options included."""
    text = page(name)
    typed = re.findall(r"`caducee ([a-z][^`]*)`", text)
    typed += re.findall(r"(?:^|/bin/|\S=\S+ )caducee ([a-z].*)", text, re.MULTILINE)
    tree = typer.main.get_command(build())
    assert isinstance(tree, typer.core.TyperGroup)
    assert [words for words in typed if unknown_part(tree, words)] == []


def unknown_part(tree: typer.core.TyperGroup, typed: str) -> str | None:
    """The first word or option that the command line does not know; None when it knows them all."""
    command: object = tree
    for word in re.split(r"[\s()]+", typed.partition("#")[0].partition(" | ")[0].strip()):
        if isinstance(command, typer.core.TyperGroup):
            if not re.fullmatch(r"[a-z-]+", word):
                return None  # prose, a path, or `...`
            if word not in command.commands:
                return word
            command = command.commands[word]
        elif word.startswith("--") and word != "--":
            known = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
            if word not in known | {"--help"}:
                return word
    return None


def test_checker_finds_commands_that_do_not_exist():
    tree = typer.main.get_command(build())
    assert isinstance(tree, typer.core.TyperGroup)
    assert unknown_part(tree, "token frobnicate x") == "frobnicate"
    assert unknown_part(tree, "serve --port 1 --sideways") == "--sideways"
    assert unknown_part(tree, "audit log --last 20") is None


@pytest.mark.parametrize("name", PAGES)
def test_shell_examples_parse(name: str):
    assert all(words_of(block) for block in shell_blocks(name))


@pytest.mark.parametrize("name", ["README.md", "docs/http-api.md"])
def test_curl_lines_call_routes_that_exist(name: str):
    """Method and path of each, with the variables that stand for an origin or an id taken as such."""
    calls = [call for block in shell_blocks(name) for call in curl_calls(block)]
    assert len(calls) >= 6
    assert [call for call in calls if not leads_somewhere(*call)] == []


def curl_calls(block: str) -> list[tuple[str, str]]:
    """(method, path) of each curl in a block."""
    joined = re.sub(r"\\\n\s*", " ", block)
    calls = []
    for line in re.findall(r"curl [^\n]*", joined):
        url = re.search(r"\"(\$(?:AT|SHARE|CLAIM)[^\"?]*(?:\([^)]*\))?)", line)
        assert url, line
        method = re.search(r"-X (\w+)", line)
        default = "PUT" if re.search(r"-\w*T ", line) else "POST" if " -d " in line else "GET"
        calls.append((method[1] if method else default, path_of(url[1])))
    return calls


def path_of(url: str) -> str:
    """The path of an example's URL, ids and names as `x`."""
    url = re.sub(r"^\$SHARE/", "$AT/api/v1/shares/x/", url)
    url = re.sub(r"^\$CLAIM/", "$AT/api/v1/claims/x/", url)
    return re.sub(r"\$\(.*|\$\w+", "x", url.removeprefix("$AT"))


def leads_somewhere(method: str, path: str) -> bool:
    return any(
        method == allowed and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
        for allowed, template, _ in routes()
    )


def test_checker_finds_routes_that_do_not_exist():
    assert curl_calls('curl -T x "$AT/api/v1/send/x?y=1"') == [("PUT", "/api/v1/send/x")]
    assert leads_somewhere("PUT", "/api/v1/send/x")
    assert not leads_somewhere("GET", "/api/v1/send/x")
    assert not leads_somewhere("PUT", "/api/v1/sent/x")


def test_architecture_map_is_that_of_the_code():
    """The same steps in the same order as `app/__init__.py`, every file there."""
    steps = [row[0] for row in rows("README.md", "step")]
    told = re.findall(r"^    (\w+) {2,}(app/\S+)", page("app/__init__.py"), re.MULTILINE)
    assert steps == [step for step, _ in told]
    map_text = "\n".join(row[1] for row in rows("README.md", "step"))
    assert [path for _, path in told if path.rstrip(",") not in map_text] == []
    named = re.findall(r"`((?:app|scheduler|deploy|tests|docs)/[\w./-]*)`", page("README.md"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_path_that_is_named_exists(name: str):
    named = re.findall(r"`((?:app|scheduler|migrations|deploy|tests|docs)/[\w./-]*[\w/])`", page(name))
    assert [path for path in named if "NNNN" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_that_is_named_exists(name: str):
    variables = {row[0] for row in rows("docs/settings.md", "variable")}
    others = {
        "CADUCEE_SECRETS_DIR",
        "CADUCEE_SERVER",
        "CADUCEE_TOKEN",
        "CADUCEE_CLIENT_KEY",
        "CADUCEE_PASSWORD_COMMAND",
        "CADUCEE_PORT",
        "CADUCEE_TEST_ENGINE",
    }
    assert set(re.findall(r"CADUCEE_[A-Z0-9_]*[A-Z0-9]", page(name))) - variables - others == set()
