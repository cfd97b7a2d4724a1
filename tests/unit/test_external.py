"""`make test-all` reports how many tests ran: having none is no failure, and no success is claimed for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.marks import in_test_all

ROOT = Path(__file__).parents[2]

NOT_MARKED = """
def test_of_another_tier():
    raise AssertionError
"""

MARKED = """
import pytest

pytestmark = pytest.mark.external

def test_passes():
    pass

@pytest.mark.acceptance
def test_at_full_scale():
    raise AssertionError

def test_lacks_its_browser():
    pytest.skip("no such browser here")
"""

FAILING = """
import pytest

@pytest.mark.external
def test_fails():
    assert False
"""


def run_external(folder: Path, source: str, *options: str) -> tuple[int, str]:
    """Exit code and last line of `make test-all` with this file as the only tests."""
    (folder / "test_some.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "tests.external", "-c", str(ROOT / "pyproject.toml"), *options, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.splitlines()[-1]


def test_no_external_test_is_reported_as_none(tmp_path):
    assert run_external(tmp_path, NOT_MARKED) == (0, "external tests: 0 ran, 0 skipped")


@pytest.mark.parametrize("options", [(), in_test_all(("-n", "1"))])
def test_external_tests_are_counted_and_skips_apart(tmp_path, options: tuple[str, ...]):
    assert run_external(tmp_path, MARKED, *options) == (0, "external tests: 1 ran, 1 skipped")


def test_failing_external_test_fails_the_run(tmp_path):
    assert run_external(tmp_path, FAILING) == (1, "external tests: 1 ran, 0 skipped")


def test_file_that_cannot_be_collected_fails_the_run(tmp_path):
    code, _ = run_external(tmp_path, "import nonexistent_module")
    assert code == 2
