"""House rules for the whole tree, which no `noqa` can switch off."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {".venv", ".git", "var", "node_modules", "build"}

FORBIDDEN_MODULES = {"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}
FORBIDDEN_BUILTINS = {"compile", "eval", "exec"}
FORBIDDEN_YAML = {"full_load", "full_load_all", "load", "load_all", "unsafe_load", "unsafe_load_all"}

# In pieces, so that this file does not name what it looks for.
PACKAGE_REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "registry." + "yarnpkg",
    "docker" + ".io",
    "ghcr" + ".io",
    "quay" + ".io",
]


def tracked_files() -> list[Path]:
    """Every file that git has or would take; in a plain copy of the tree, every file."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(git, capture_output=True, check=True, text=True).stdout.split("\0")
    except (FileNotFoundError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    paths = (ROOT / name for name in listed if name and not NOT_OURS & set(Path(name).parts))
    return sorted(path for path in paths if path.is_file())


def python_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".py"]


def forbidden_imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        names = [module]
        if module == "yaml":
            yield from (f"yaml.{alias.name}" for alias in node.names if alias.name in FORBIDDEN_YAML)
    else:
        return
    yield from (name for name in names if name.split(".")[0] in FORBIDDEN_MODULES)


def forbidden_calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    match node.func:
        case ast.Name(id=name) if name in FORBIDDEN_BUILTINS:
            yield name
        case ast.Attribute(value=ast.Name(id="yaml"), attr=name) if name in FORBIDDEN_YAML:
            yield f"yaml.{name}"
        case ast.Name(id="__import__") | ast.Attribute(attr="import_module"):
            named = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from (str(name) for name in named if str(name).split(".")[0] in FORBIDDEN_MODULES)


def what_runs_what_it_reads(source: str) -> list[str]:
    """Everything in `source` that turns data into code."""
    nodes = list(ast.walk(ast.parse(source)))
    return [name for node in nodes for name in (*forbidden_imports(node), *forbidden_calls(node))]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["pickle"]),
        ("import marshal as m, json", ["marshal"]),
        ("from pickle import loads", ["pickle"]),
        ("def f():\n    import shelve", ["shelve"]),
        ("from yaml import load", ["yaml.load"]),
        ("import yaml\nyaml.load(x)", ["yaml.load"]),
        ("import yaml\nyaml.safe_load(x)", []),
        ("eval('1')", ["eval"]),
        ("exec(x)", ["exec"]),
        ("compile(x, y, z)", ["compile"]),
        ("re.compile(x)", []),
        ("__import__('pickle')", ["pickle"]),
        ("importlib.import_module('marshal')", ["marshal"]),
        ("importlib.import_module('json')", []),
        ("connection.exec(x)", []),
    ],
)
def test_rule_finds_code_that_runs_what_it_reads(source: str, found: list[str]):
    """Lesson 27: GoAnywhere, Faspex and WS_FTP were taken over through a deserialiser."""
    assert what_runs_what_it_reads(source) == found


def test_no_code_runs_what_it_reads():
    """Lesson 27: GoAnywhere, Faspex and WS_FTP were taken over through a deserialiser."""
    sources = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in python_files()}
    assert len(sources) > 1
    assert {str(path): found for path, text in sources.items() if (found := what_runs_what_it_reads(text))} == {}


def test_command_line_stands_beside_the_scheduler_and_not_on_it():
    """Import-linter holds the layers inside the packages; cli.py is a module, so its imports are read here."""
    nodes = list(ast.walk(ast.parse((ROOT / "cli.py").read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name for name in plain | named if name.split(".")[0] in {"migrations", "scheduler"}} == set()


def test_no_file_names_a_package_registry():
    """Where packages come from is the affair of the machine that installs them; the hashes say which ones."""
    named = {
        str(path.relative_to(ROOT)): host
        for path in tracked_files()
        for host in PACKAGE_REGISTRIES
        if host.encode() in path.read_bytes()
    }
    assert named == {}


def pinned(name: str) -> list[str]:
    """The entries of requirements/`name`, one string each, hashes included."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", ["build.txt", "dev.txt", "run.txt"])
def test_every_package_is_pinned_and_hashed(name: str):
    loose = [line for line in pinned(name) if not re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
    assert loose == []


@pytest.mark.parametrize("name", ["dev.txt", "run.txt"])
def test_pins_cover_what_the_project_declares(name: str):
    """`make pins` was run after the last change of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    declared = [*project["project"]["dependencies"], *(entry for extra in extras for entry in extra)]
    if name == "dev.txt":
        groups = [*project["dependency-groups"]["build"], *project["dependency-groups"]["dev"]]
        declared += [entry for entry in groups if isinstance(entry, str)]
    names = {re.split(r"[\[<>=~! ]", entry, maxsplit=1)[0] for entry in declared}
    assert names - {line.split("==")[0] for line in pinned(name)} == set()


def test_versions_that_run_are_versions_that_were_tested():
    tested = {line.split()[0] for line in pinned("dev.txt")}
    assert {line.split()[0] for line in [*pinned("run.txt"), *pinned("build.txt")]} - tested == set()


# --- sizes and names

LINES, FILE_LINES, PARAMETERS = 40, 300, 5
LONGER_FILES = {
    "app/actions/reconcile.py": "three passes with the same steps, for blobs, keys and rows",
    "app/db/share_rows.py": "short queries of shares and of their claims; a claim changes both",
    "app/db/transfer_rows.py": "short queries of one table, which share a row type and its columns",
    "app/lifecycle/intake.py": "one upload, from its admission to its commit, whose steps share a lease",
    "app/domain/errors.py": "a list with one class per refusal; readers search it",
}
LONGER = {
    "app/terminal/exposure.py:_tables": "the report's tables, one after the other",
    "app/terminal/serve.py:_serve_the_web": "the options of uvicorn, each with its reason",
}
MORE_PARAMETERS = {
    "app/actions/fetch_file.py:open_files": "who asks, for what, and how it goes out",
    "app/actions/read_log.py:entry_filter": "the filters of the log",
    "app/lifecycle/endings.py:end_share": "the fields of the entry of an end",
    "app/lifecycle/key_ring.py:wrap_for_claim": "all that the wrapped key is bound to",
}
EMPTY_NAMES = {"base", "common", "helpers", "manager", "misc", "service", "util", "utils"}


def own_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in python_files():
        name = str(path.relative_to(ROOT))
        if name.startswith(("app/", "scheduler/", "cli.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{name}:{node.name}", node


def test_functions_fit_on_a_screen():
    """40 lines, signature and docstring included; a longer one says why here, and leaves this list when it shrinks."""
    longer = {name for name, node in own_functions() if (node.end_lineno or 0) - node.lineno >= LINES}
    assert longer == set(LONGER)


def test_files_have_at_most_300_lines():
    """A longer file of app/ gives its reason here and in docs/development.md."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files()
        if path.is_relative_to(ROOT / "app")
    }
    assert {name: length for name, length in lengths.items() if length > FILE_LINES and name not in LONGER_FILES} == {}
    assert set(LONGER_FILES) <= set(lengths)
    described = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    assert [name for name in LONGER_FILES if name not in described] == []


def test_functions_take_five_parameters_at_most():
    """Those of commands and routes are options and fields of a request, and are not counted."""
    found = set()
    for name, node in own_functions():
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own = [each for each in every if each.arg not in {"self", "cls"}]
        if len(own) > PARAMETERS and not name.startswith("app/terminal/") and "_routes.py" not in name:
            found.add(name)
    assert found == set(MORE_PARAMETERS)


def test_a_file_is_named_for_what_it_does():
    named = [path for path in python_files() if path.stem in EMPTY_NAMES and "tests" not in path.parts]
    assert named == []
