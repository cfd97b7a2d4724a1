"""`make test-all`: runs the tests marked `external` and reports how many ran.

They need what `make test` does not: a browser beyond Chromium, clamd, an object store, another server, other users of
the machine. Full-scale tests are left to `make acceptance`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

SELECTED = "external and not acceptance"


class Tally:
    """A pytest plugin that counts the tests that ran and those that were skipped."""

    def __init__(self) -> None:
        """Start at zero."""
        self.ran: set[str] = set()
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once, whatever its set-up, call and teardown report."""
        (self.skipped if report.skipped else self.ran).add(report.nodeid)

    def __str__(self) -> str:
        """One line. A test skipped by its set-up or its own body has not run."""
        return f"external tests: {len(self.ran - self.skipped)} ran, {len(self.skipped)} skipped"


def run(arguments: Sequence[str]) -> int:
    """Run them with further arguments for pytest and print the tally. Return pytest's exit code; 0 if none exists."""
    tally = Tally()
    code = pytest.main([*arguments, "-m", SELECTED], plugins=[tally])
    print(tally)
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else int(code)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
