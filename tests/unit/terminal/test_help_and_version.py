"""`--version` and `-h` answer before anything that could fail: settings, data folder, packages of the server."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import build

ROOT = Path(__file__).parents[3]
PROGRAM = Path(sys.executable).with_name("caducee")

# Runs `caducee`, then prints every loaded module that lies outside the standard library.
LOADED = """
import sys
before = set(sys.modules)
import cli
sys.argv = ["caducee", *{arguments!r}]
try:
    cli.main()
except SystemExit:
    pass
print(*sorted(
    name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names
))
"""
OF_SERVICE = {
    "alembic", "apscheduler", "argon2", "babel", "fastapi", "jinja2", "prometheus_client", "psycopg",
    "pydantic_settings", "sqlalchemy", "starlette", "structlog", "uvicorn", "app.actions", "app.db", "app.lifecycle",
    "app.reports", "app.runtime.settings", "app.storage", "app.web", "scheduler",
}  # fmt: skip
OF_CLIENT = {"app.crypto", "cryptography", "httpx", "pydantic", "rich.console", "rich.progress"}


def expected_line() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"caducee {project['version']}\n"


def tree() -> typer.core.TyperGroup:
    found = typer.main.get_command(build())
    assert isinstance(found, typer.core.TyperGroup)
    return found


TREE = tree()


def command_paths(group: typer.core.TyperGroup, *above: str) -> Iterator[list[str]]:
    """The words of every command and group, the program itself first."""
    yield list(above)
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from command_paths(command, *above, name)
        else:
            yield [*above, name]


def test_version_is_printed_where_nothing_is_installed_or_configured(tmp_path):
    """With a setting that stops every other command."""
    environment = os.environ | {"CADUCEE_DATA_DIR": str(tmp_path / "absent"), "CADUCEE_DEADMAN": "nonsense"}
    command = [str(PROGRAM), "--version"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, expected_line(), "")
    assert list(tmp_path.iterdir()) == []


def loaded_by(home: Path, *arguments: str) -> tuple[str, set[str]]:
    """What a command prints, and the modules that it imports."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
    environment |= {"XDG_STATE_HOME": str(home), "CADUCEE_SERVER": "http://127.0.0.1:9"}  # without a token
    command = [sys.executable, "-c", LOADED.format(arguments=arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    printed, _, names = done.stdout.rstrip("\n").rpartition("\n")
    return printed, set(names.split())


def test_version_loads_nothing_but_the_standard_library(tmp_path):
    printed, names = loaded_by(tmp_path, "--version")
    assert f"{printed}\n" == expected_line()
    assert {name.partition(".")[0] for name in names} == {"app", "cli"}


UNUSED = {
    "--help": OF_SERVICE | OF_CLIENT,
    "send --help": OF_SERVICE | (OF_CLIENT - {"pydantic"}),  # Typer reads options with pydantic
    "send README.md --to A": OF_SERVICE,
    "get https://files.example/s/x --trust": OF_SERVICE,
    "sent": OF_SERVICE,
    "share issue x --to A": OF_SERVICE,
    "share revoke x": OF_SERVICE,
    "transfer delete x": OF_SERVICE,
    "config show": {"app.actions", "app.db", "cryptography", "fastapi", "httpx"},
}


@pytest.mark.parametrize("typed", UNUSED)
def test_a_command_loads_nothing_that_it_does_not_use(typed: str, tmp_path):
    """Each of these packages would delay the start by up to a tenth of a second."""
    _, names = loaded_by(tmp_path, *typed.split())
    assert names & UNUSED[typed] == set()
    assert "app.terminal.console" in names


@pytest.mark.parametrize("group", [(), ("transfer",)])
def test_help_of_unloaded_commands_is_that_of_the_commands(group: tuple[str, ...]):
    """`cli.py` repeats the summaries, so that it need not import the commands."""
    listed, loaded = (CliRunner().invoke(build(only), [*group, "--help"]) for only in (group, None))
    assert (listed.exit_code, listed.output) == (0, loaded.output)


def test_version_wins_over_a_command():
    ran = CliRunner().invoke(build(), ["--version", "doctor"])
    assert (ran.exit_code, ran.output) == (0, expected_line())


def test_version_stands_in_the_help():
    assert "--version" in CliRunner().invoke(build(), ["-h"]).output


@pytest.mark.parametrize("path", list(command_paths(TREE)), ids=lambda path: " ".join(path) or "caducee")
def test_h_is_help_everywhere(path: list[str], capsys):
    shown = []
    for option in ("-h", "--help"):
        assert TREE.main([*path, option], prog_name="caducee", standalone_mode=False) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert " ".join(["Usage: caducee", *path]) in shown[0]
