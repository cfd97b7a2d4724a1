"""What a command exits with when something goes wrong that nobody foresaw."""

import pytest

from app.domain.errors import TransferNotFound
from app.terminal import console
from cli import build

CANARY = f"{'CAN'}{'ARY'}"  # in pieces: a traceback shows lines of the source


def broken_by(failure: Exception):
    """The command tree, with a command that holds a key when it fails."""

    def built():
        tree = build()

        @tree.command("broken")
        def broken() -> None:
            key = CANARY
            raise failure if key else KeyError

        return lambda: tree(["broken"])

    return built


@pytest.fixture(autouse=True)
def umask_stays(monkeypatch):
    monkeypatch.setattr("os.umask", lambda _mask: 0)


@pytest.mark.parametrize("failure", [ValueError("a bug"), KeyError("a bug"), AssertionError("a bug")])
def test_a_fault_that_nobody_foresaw_is_2(failure, capfd):
    """1 would read as "overdue" in `audit retention`: nothing was found, it could not be looked."""
    assert console.run(broken_by(failure)) == console.CANNOT
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("Traceback")
    assert type(failure).__name__ in told.err.splitlines()[-1]


def test_its_traceback_shows_no_variable(capfd):
    """Lesson 34: one that was drawn with its variables showed a key."""
    console.run(broken_by(ValueError("a bug")))
    assert CANARY not in capfd.readouterr().err


def test_a_tree_that_cannot_be_built_is_2(capfd):
    def built():
        raise ImportError("no such name")

    assert console.run(built) == console.CANNOT
    assert "ImportError: no such name" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("failure", "code"), [(TransferNotFound(), console.REFUSED), (OSError("full"), console.CANNOT)]
)
def test_what_was_foreseen_is_told_in_one_line(failure, code, capfd):
    assert console.run(broken_by(failure)) == code
    assert "Traceback" not in capfd.readouterr().err


def test_another_pipe_that_closes_is_neither_success_nor_refusal(capfd):
    """Click would exit 1 without a word."""
    assert console.run(broken_by(BrokenPipeError(32, "Broken pipe"))) == console.CANNOT
    assert "closed at its other end" in capfd.readouterr().err
