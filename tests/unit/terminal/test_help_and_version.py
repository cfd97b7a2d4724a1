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

# Prints what importing cost: every loaded module that lies outside the standard library.
LOADED_BY_VERSION = """
import sys
before = set(sys.modules)
import cli
sys.argv = ["caducee", "--version"]
cli.main()
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(names - set(sys.stdlib_module_names)))
"""


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


def test_version_loads_nothing_but_the_standard_library():
    command = [sys.executable, "-c", LOADED_BY_VERSION]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"{expected_line()}app cli\n"


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
