"""Run the program as other users of this machine: the scheduler's, and one that faces the network.

Only root can. The interpreter must be one that those users may read: where the tests' own is private to root, Debian's
of the same version runs on a copy of the program and its packages.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distribution, version
from pathlib import Path
from typing import NoReturn

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
SCHEDULER, NETWORK, GROUP = 61_001, 61_002, 61_000
"""Users and their common group, by numbers that no account has."""


@dataclass
class OtherUsers:
    """A readable copy of the program in `library`, and the processes started from it."""

    interpreter: Path
    library: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self, user: int, arguments: Sequence[str], environment: dict[str, str], log: Path
    ) -> subprocess.Popen[str]:
        """Start `python <arguments>` as a user, with no other group than GROUP."""
        with log.open("a") as said:
            process = subprocess.Popen(
                [self.interpreter, *arguments],
                env=self._environment(environment),
                cwd=self.library,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
                user=user,
                group=GROUP,
                extra_groups=[],
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, user: int, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run `python <arguments>` as a user to its end."""
        return subprocess.run(
            [self.interpreter, *arguments],
            env=self._environment(environment),
            cwd=self.library,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            user=user,
            group=GROUP,
            extra_groups=[],
        )

    def end(self) -> None:
        """End every process that was started here, with its children."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.defpath, "PYTHONPATH": str(self.library), "PYTHONDONTWRITEBYTECODE": "1", **settings}


def other_users(folder: Path) -> OtherUsers:
    """Copy the program into a folder that everybody may read. Skips loudly, or fails under CADUCEE_REQUIRE_ALL=1, where
    there is no root or no interpreter.
    """
    if os.geteuid() != 0:
        _missing("only root can start processes of other users")
    interpreter = _interpreter()
    if interpreter is None:
        _missing(f"no Python {sys.version_info.major}.{sys.version_info.minor} that other users may read")
    umask = os.umask(0o022)  # earlier tests of this process may have set the service's
    try:
        return OtherUsers(interpreter, _copied(folder / "library"))
    finally:
        os.umask(umask)


def _copied(library: Path) -> Path:
    library.mkdir()
    for name in ("app", "migrations", "scheduler"):
        shutil.copytree(REPOSITORY / name, library / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "cli.py", library / "cli.py")
    _copy_packages(library)
    (library / "caducee.dist-info").mkdir()  # reports name the installed version
    (library / "caducee.dist-info" / "METADATA").write_text(f"Name: caducee\nVersion: {version('caducee')}\n", "utf-8")
    return library


def _interpreter() -> Path | None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = Path(sys.executable).resolve()
    candidates = [own, Path("/usr/bin", version), Path("/usr/local/bin", version)]
    return next((each for each in candidates if each.exists() and _readable_by_others(each.resolve())), None)


def _readable_by_others(file: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (file, *file.parents))


def _copy_packages(library: Path) -> None:
    """Copy the packages that the service runs on, as pinned, from the tests' environment."""
    pins = (REPOSITORY / "requirements" / "run.txt").read_text().splitlines()
    site = Path(sysconfig.get_path("purelib"))
    for pin in pins:
        if "==" in pin and not pin.startswith("#"):
            wanted = Requirement(pin.rstrip(" \\"))
            if wanted.marker is None or wanted.marker.evaluate():
                _copy_files(wanted.name, site, library)


def _copy_files(package: str, site: Path, library: Path) -> None:
    files: Iterable[os.PathLike[str]] = distribution(package).files or ()
    for file in map(Path, files):
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        (library / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site / file, library / file)


def _missing(what: str) -> NoReturn:
    if os.environ.get("CADUCEE_REQUIRE_ALL") == "1":
        pytest.fail(f"tests with separate users cannot run: {what}")
    pytest.skip(f"SKIPPED, NOT PROVED: tests with separate users cannot run: {what}")
