"""docs/client.md: its examples send and fetch; and what the base install contains is a client that works."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.unit.docs_tables import ROOT, page

CONTENT = b"id;result\n1;negative\n"
PRINTED = f"issued\nexport.csv {len(CONTENT)}\n['insurer'] ['completed']\n{CONTENT.decode()}share_used\n"


@pytest.fixture
def run(house, tmp_path):
    """Run a program as a user who has an export, and an account on the shared service."""
    (tmp_path / "export.csv").write_bytes(CONTENT)
    settings = {"SERVER": house.server.origin, "TOKEN": house.tokens["staff"]}
    variables = {f"CADUCEE_{name}": value for name, value in settings.items()}
    variables |= {"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*command, **more):
        done = subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,
            env=variables | more,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def examples(tmp_path):
    """The examples of the page, one after the other, as one program."""
    path = tmp_path / "examples.py"
    path.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", page("docs/client.md"), re.MULTILINE | re.DOTALL)))
    return path


def test_docs_client_examples_send_and_fetch(run, examples, tmp_path):
    assert run(sys.executable, examples, PYTHONPATH=str(ROOT)) == PRINTED
    assert (tmp_path / "received" / "export.csv").read_bytes() == CONTENT


@pytest.mark.external
def test_docs_client_is_what_the_base_install_contains(run, examples, tmp_path):
    """A wheel in an environment of its own, without the packages of the service: nothing else of the tree is there."""
    python = base_install(run, tmp_path)
    caducee = python.with_name("caducee")
    assert run(python, "-c", "from importlib.util import find_spec; print(find_spec('fastapi'))") == "None\n"
    assert run(python, examples) == PRINTED
    assert list((tmp_path / "installed").rglob("app/py.typed")), "type checkers may use the annotations"
    assert run(caducee, "--version").startswith("caducee ")
    for command in ("send", "get", "sent", "share issue"):
        assert "--help" in run(caducee, *command.split(), "--help")
    files = ("--link-file", "link", "--password-file", "password")
    run(caducee, "send", "export.csv", "--to", "insurer", "--expires", "1h", *files)
    link = (tmp_path / "link").read_text().strip()
    run(caducee, "get", link, "--password-file", "password", "-o", "fetched", "--trust")
    assert (tmp_path / "fetched" / "export.csv").read_bytes() == CONTENT
    assert "completed" in run(caducee, "sent")


def base_install(run, tmp_path: Path) -> Path:
    """Build a wheel, and install it as pipx would; return the interpreter."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("app", "migrations", "scheduler"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("cli.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "dist", "./tree")
    run(sys.executable, "-m", "venv", "--without-pip", "installed")
    python = tmp_path / "installed" / "bin" / "python"
    (wheel,) = (tmp_path / "dist").glob("caducee-*.whl")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    (packages,) = (tmp_path / "installed").glob("lib/*/site-packages")
    for name, path in packages_of_the_client().items():
        if not (packages / name).exists():
            (packages / name).symlink_to(path)
    return python


def packages_of_the_client() -> dict[str, Path]:
    """The folders and modules of the packages that the base install requires, as they are installed here."""
    project = tomllib.loads(page("pyproject.toml"))["project"]
    left, seen, found = list(project["dependencies"]), set(), dict[str, Path]()
    while left:
        requirement = Requirement(left.pop())
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        package = importlib.metadata.distribution(requirement.name)
        left += package.requires or []
        tops = {file.parts[0] for file in package.files or [] if file.parts[0] != ".."}
        found |= {top: Path(str(package.locate_file(top))) for top in tops}
    return found
