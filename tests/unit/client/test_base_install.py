"""The base install is the client: it runs in an interpreter that finds no package of the extras."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

EVERY_CLIENT_MODULE = """
import importlib, pkgutil, app.client
for module in pkgutil.iter_modules(app.client.__path__, "app.client."):
    importlib.import_module(module.name)
    print(module.name)
"""

COMMAND = """
import cli
sys.argv = ["caducee", *{arguments!r}]
cli.main()
"""


def module_names(requirements: list[str], names: dict[str, str]) -> set[str]:
    packages = [re.split(r"[\[<>=~! ;]", requirement, maxsplit=1)[0] for requirement in requirements]
    return {names.get(package, package).replace("-", "_") for package in packages}


def server_only() -> set[str]:
    """The modules of the extras, and Starlette, which comes with FastAPI; Pydantic comes with Typer as well."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    names = project["tool"]["deptry"]["package_module_name_map"]
    return module_names([entry for extra in extras for entry in extra], names) | {"starlette"}


def run_without_extras(source: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {f"CADUCEE_{name}": value for name, value in variables.items()}
    script = WITHOUT.format(absent=server_only()) + source
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_extras_hold_what_only_the_server_uses():
    assert {"argon2", "fastapi", "psycopg", "sqlalchemy", "uvicorn"} <= server_only()
    assert not {"cryptography", "httpx", "rich", "typer"} & server_only()


@pytest.mark.parametrize("module", ["argon2", "fastapi", "psycopg.sql"])
def test_interpreter_of_these_tests_finds_no_package_of_the_extras(module: str):
    done = run_without_extras(f"import {module}")
    assert done.returncode == 1
    assert f"No module named '{module.partition('.')[0]}'" in done.stderr


def test_client_imports_no_package_of_the_extras():
    done = run_without_extras(EVERY_CLIENT_MODULE)
    assert done.returncode == 0, done.stderr
    assert {"app.client.sealed_transfer", "app.client.sealed_claim"} <= set(done.stdout.split())


@pytest.mark.parametrize("command", ["share issue x --to insurer", "share revoke x", "transfer delete x"])
def test_base_install_shares_withdraws_and_deletes_over_http(command: str):
    """The command gets as far as calling the server; nothing listens on port 9. Without a server, it names one."""
    source = COMMAND.format(arguments=command.split())
    done = run_without_extras(source, SERVER="http://127.0.0.1:9", TOKEN="cad_x", CLIENT_KEY="A" * 43)
    assert done.returncode == 75
    assert done.stderr.startswith("cannot: ")
    assert "cannot be reached" in done.stderr
    done = run_without_extras(source, SERVER="")
    assert done.returncode == 2
    assert done.stderr.startswith("cannot: set CADUCEE_SERVER")


def test_base_install_shows_only_the_commands_it_can_run():
    done = run_without_extras(COMMAND.format(arguments=["--help"]))
    assert done.returncode == 0, done.stderr
    assert "share" in done.stdout
    assert "doctor" not in done.stdout
