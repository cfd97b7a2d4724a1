"""The program `caducee`, started warm: forked from a process that has loaded its modules, instead of loading them anew.

Half of what the whole suite costs would be loading modules, a second for each command and each server. From `cli.main`
on everything runs as it does for an operator: arguments, environment, folder, open files, signals, exit code. What
starts other Python processes of its own (several workers) is started cold, and so are the tests of the start itself.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import cli

PROGRAM = Path(sys.executable).with_name("caducee")
LOADED = (
    "cli",
    *sorted({f"app.terminal.{command.module}" for command in cli.COMMANDS.values()}),
    "app.main",
    "app.web.server",
    "app.client.http_calls",
    "app.actions.examine",
)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(LOADED))


@dataclass(frozen=True)
class Start:
    """What a program is started with."""

    arguments: Sequence[str]
    folder: Path
    environment: dict[str, str]
    out: Path
    err: Path
    typed: Path | None = None
    leads_group: bool = False
    """Whether it becomes the leader of a session and process group of its own."""


class Program:
    """A running program, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, start: Start) -> None:
        """Start it."""
        self._process: ForkServerProcess = _context.Process(target=_become, args=(start,))
        self._process.start()
        pid = self._process.pid
        assert pid is not None
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Any signal."""
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        """The same, looked up now."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for the end. Raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(PROGRAM), timeout)
        return self._process.exitcode

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


def run(arguments: Sequence[str], folder: Path, environment: dict[str, str], typed: str | None) -> tuple[int, str, str]:
    """Run a command to its end. Answers exit code, stdout, stderr."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err, said = (Path(scratch, name) for name in ("out", "err", "typed"))
        said.write_text(typed or "", encoding="utf-8")
        program = Program(Start(arguments, folder, environment, out, err, typed=said))
        try:
            code = program.wait(60)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
        return code, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace")


def _become(start: Start) -> None:
    """In the forked process: take on what was asked for, and be the program."""
    if start.leads_group:
        os.setsid()
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    _open_as(0, start.typed or Path(os.devnull), os.O_RDONLY)
    for number, path in ((1, start.out), (2, start.err)):
        _open_as(number, path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        setattr(sys, name, os.fdopen(number, mode, closefd=False))
    sys.argv = [str(PROGRAM), *start.arguments]
    cli.main()


def _open_as(number: int, path: Path, flags: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    os.dup2(descriptor, number)
    if descriptor != number:
        os.close(descriptor)
