"""The measured servers: start each on a free port with its own folder, measure it from outside, and stop it."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 30
CADUCEE = str(Path(sys.executable).parent / "caducee")

CHEAP_ARGON2 = {"CADUCEE_ARGON2_TIME": "1", "CADUCEE_ARGON2_MEMORY_KIB": "64", "CADUCEE_ARGON2_LANES": "1"}
"""Cheap, because shares are issued and claimed between the measurements, never during one."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port, its main process (which serves, if there is one worker; child processes are not
    counted), and a folder on the disk that it writes to.
    """

    port: int
    pid: int
    folder: Path

    def cpu_seconds(self) -> float:
        """CPU time of the process, user and system. It is read from the process's CPU clock
        (man 3 clock_getcpuclockid), because /proc/<pid>/stat counts in steps of 10 ms.
        """
        clock = ctypes.c_int()
        assert ctypes.CDLL(None).clock_getcpuclockid(self.pid, ctypes.byref(clock)) == 0
        return time.clock_gettime(clock.value)

    def forget_peak(self) -> None:
        """Reset the peak memory (man 5 proc_pid_clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def peak_bytes(self) -> int:
        """Peak memory since `forget_peak` (VmHWM)."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@dataclass(frozen=True, slots=True)
class Service(Server):
    """A running Caducée, with an access token, and the environment for commands on its installation."""

    token: str
    environment: dict[str, str]

    @property
    def database_url(self) -> str:
        """Its database."""
        return self.environment.get("CADUCEE_DATABASE_URL", f"sqlite:///{self.folder}/data/db/caducee.sqlite")

    def new_token(self, name: str) -> str:
        """Issue another access token."""
        return _token(self.environment, name)


@contextmanager
def bare(folder: Path) -> Iterator[Server]:
    """Run the bare handler."""
    folder.mkdir()
    port = _free_port()
    with _running([sys.executable, "-m", "bench.bare", str(port), str(folder)], folder, dict(os.environ)) as process:
        _wait_for(port, process)
        yield Server(port, process.pid, folder)


@contextmanager
def service(folder: Path, *, workers: int = 1, database_url: str | None = None) -> Iterator[Service]:
    """Run Caducée on a new data folder: all stores on this disk, SQLite unless another database is given, and the
    scheduler.
    """
    folder.mkdir()
    port = _free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
    settings = {
        "CADUCEE_DATA_DIR": str(folder / "data"),
        "CADUCEE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CADUCEE_LOG_FORMAT": "json",
    }
    if database_url is not None:
        settings["CADUCEE_DATABASE_URL"] = database_url
    environment = {**inherited, **settings, **CHEAP_ARGON2}
    subprocess.run([CADUCEE, "db", "upgrade"], env=environment, capture_output=True, check=True)
    token = _token(environment, "bench")
    _fill_in_prefixes(folder / "data" / "blobs")
    command = [CADUCEE, "serve", "--port", str(port), "--workers", str(workers)]
    with _running(command, folder, environment) as process:
        _wait_for(port, process)
        yield Service(port, process.pid, folder, token, environment)


def _token(environment: dict[str, str], name: str) -> str:
    command = [CADUCEE, "token", "create", name, "--json"]
    made = subprocess.run(command, env=environment, capture_output=True, check=True)
    token: str = json.loads(made.stdout)["token"]
    return token


def _fill_in_prefixes(blobs: Path) -> None:
    """Create all folders of the blob store, as after some weeks of use: the first blob in a new one costs an fsync."""
    alphabet = f"{string.ascii_letters}{string.digits}-_"
    for first, second in itertools.product(alphabet, repeat=2):
        (blobs / f"{first}{second}").mkdir(mode=0o700)
    os.sync()


@contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as child,
    ):
        try:
            yield child
        except AssertionError:
            print((folder / "log").read_text(encoding="utf-8")[-4000:], file=sys.stderr)
            raise
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "the server exited; see its log"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server did not start")
