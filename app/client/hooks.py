"""Commands of the user that hand over a link or a password: the secret goes to their standard input, and nowhere else.

A command is split as a shell would split it and run without one. It gets one line of JSON, no variable of this program,
and no place to print to: its output could repeat the secret into a log.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.client.errors import HookFailed, NotConfigured

TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Hook:
    """A command to run. `option` names it in messages."""

    option: str
    words: tuple[str, ...]
    timeout_seconds: float = TIMEOUT_SECONDS

    @classmethod
    def parse(cls, option: str, command: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Hook:
        """Split a command. Raises NotConfigured if that cannot be done, or there is no such program."""
        try:  # a backslash separates folders on Windows, where no program name needs an escape
            words = shlex.split(command.replace("\\", "\\\\") if sys.platform == "win32" else command)
        except ValueError:
            words = []
        if not words:
            raise NotConfigured(f"{option}: not a command: a quotation mark is missing, or everything is")
        if shutil.which(words[0]) is None:
            raise NotConfigured(f"{option}: there is no such program: {words[0]}")
        return cls(option, tuple(words), timeout_seconds)

    def run(self, document: dict[str, Any]) -> None:
        """Run it with the document, as one line of JSON in UTF-8, on its standard input. Raises HookFailed."""
        line = f"{json.dumps(document, ensure_ascii=False)}\n".encode()
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                self.words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")},
                start_new_session=True,  # so that all of it can be ended
            )
        except OSError as error:
            raise HookFailed(f"{self.option} cannot be run: {error.strerror}") from None
        try:
            process.communicate(line, timeout=self.timeout_seconds)
        except subprocess.TimeoutExpired:
            raise HookFailed(f"{self.option} did not end within {self.timeout_seconds:g} s") from None
        finally:
            if process.poll() is None:
                _end(process)
        if process.returncode != 0:
            raise HookFailed(f"{self.option} failed with exit code {process.returncode}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
