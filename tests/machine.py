"""A machine of its own for the shipped units: systemd as process 1 in a container over this machine's file system.

An overlay in memory keeps every change; /root, /home and the installed units of this machine are hidden; the network is
loopback only. Packages are downloaded before it starts. Everything ends with the container.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 60
PYTHON = "/usr/bin/python3"
PROGRAMS = ("systemd-nspawn", "systemd-run", "nsenter", "unshare", "curl", PYTHON)

_BOOT = """
set -eu
mount -t tmpfs tmpfs "$FOLDER/memory"
mkdir "$FOLDER/memory/upper" "$FOLDER/memory/work" "$FOLDER/memory/tree"
mount -t overlay overlay -o "lowerdir=/,upperdir=$FOLDER/memory/upper,workdir=$FOLDER/memory/work" "$FOLDER/memory/tree"
echo 0123456789abcdef0123456789abcdef > "$FOLDER/memory/tree/etc/machine-id"
rm -rf "$FOLDER/memory/tree/etc/sysusers.d" "$FOLDER/memory/tree/etc/systemd/system"
mkdir "$FOLDER/memory/tree/etc/systemd/system"
exec systemd-nspawn --quiet --directory="$FOLDER/memory/tree" --register=no --keep-unit --link-journal=no \\
  --private-network --tmpfs=/root --tmpfs=/home --bind-ro="$FOLDER/packages:/packages" \\
  --overlay="$REPOSITORY::/checkout" --console=read-only --boot systemd.unit=basic.target
"""


class Machine:
    """The running container."""

    def __init__(self, folder: Path) -> None:
        """Download the packages, and boot. Skips loudly where that cannot be; fails under CADUCEE_REQUIRE_ALL=1."""
        if os.geteuid() != 0:
            _missing("only root can start one")
        absent = [program for program in PROGRAMS if shutil.which(program) is None]
        if absent:
            _missing(f"without {', '.join(absent)}: apt-get install systemd-container curl")
        for name in ("memory", "packages"):
            (folder / name).mkdir()
        _download(folder / "packages")
        self._log = folder / "console"
        with self._log.open("w") as console:
            self._outside = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _BOOT],
                env=os.environ
                | {"FOLDER": str(folder), "REPOSITORY": str(REPOSITORY), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self._inside = self._booted()

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root in /checkout."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._inside), *_ENTERED, "bash", "-e", "-c", f"cd /checkout\n{script}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}\n{self.journal()}"
        return done

    def journal(self) -> str:
        """What the units of the service said."""
        return self.run("journalctl --no-pager --output=short-iso -u 'caducee*'", check=False).stdout

    def end(self) -> None:
        """End the container, and with it every process in it."""
        with suppress(ProcessLookupError, AttributeError):
            os.kill(self._inside, signal.SIGKILL)
        try:
            self._outside.wait(10)
        except subprocess.TimeoutExpired:
            self._outside.kill()
            self._outside.wait()

    def _booted(self) -> int:
        """The process id of its systemd, once that has started."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._outside.poll() is not None:
                _missing(f"it ended: {self._log.read_text()}")
            children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children").read_text().split()
            for child in children:
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    self._inside = int(child)
                    if self.run("systemctl is-active --quiet basic.target", check=False).returncode == 0:
                        return self._inside
            time.sleep(0.2)
        self.end()
        return _missing(f"it did not start: {self._log.read_text()}")


_ENTERED = (
    *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root"),
    *("env", "-i"),
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL=C.UTF-8",
    "PIP_NO_INDEX=1",
    "PIP_FIND_LINKS=/packages",
    "PIP_DISABLE_PIP_VERSION_CHECK=1",
)


def _download(packages: Path) -> None:
    """Fetch what the installation needs, for the machine's own Python."""
    pip = [f"{packages}/venv/bin/pip", "download", "--quiet", "--no-deps", "--require-hashes", f"--dest={packages}"]
    pins = [f"--requirement={REPOSITORY}/requirements/{name}.txt" for name in ("run", "build")]
    subprocess.run([PYTHON, "-m", "venv", packages / "venv"], check=True)
    done = subprocess.run(
        [*pip, *pins],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        _missing(f"the packages could not be downloaded: {done.stderr}")


def _missing(what: str) -> NoReturn:
    if os.environ.get("CADUCEE_REQUIRE_ALL") == "1":
        pytest.fail(f"the units cannot be started under systemd: {what}")
    pytest.skip(f"SKIPPED, NOT PROVED: the units cannot be started under systemd: {what}")
