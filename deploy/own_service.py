"""Shared by the demo and the drill: start a service as an operator would, run commands on it, print the steps.

Nothing is simulated: `caducee serve` runs on a free port with its own data folder and key vault and the default
settings, except that a transfer may be as short as one second. A run succeeds or raises Deviation.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

CADUCEE = Path(sys.executable).with_name("caducee")
PATIENCE_SECONDS = 20


class Deviation(Exception):
    """The service did not behave as promised."""


def expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Raise Deviation with the message `otherwise` unless the condition holds."""
    if not holds:
        raise Deviation(otherwise)


def step(title: str) -> None:
    """Print the heading of a step."""
    print(f"\n== {title}")


def tell(text: str) -> None:
    """Print one line below the current heading, unbuffered."""
    print(f"   {text}", flush=True)


def wait_for(what: str, holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until the condition holds. Raises Deviation after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < deadline, f"after {seconds:.0f} s, still not: {what}")
        time.sleep(0.1)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """Expect this refusal, and print it."""
    said = answer.json()
    expect((answer.status_code, said.get("code")) == (status, code), f"expected {status} {code}, not {said}")
    tell(f"{status} {code}: {said['title']}")


@dataclass(frozen=True)
class Installation:
    """A data folder and a key vault below `folder`, on which services and commands run one after the other."""

    folder: Path

    @property
    def data(self) -> Path:
        """Database, blobs and signing key."""
        return self.folder / "data"

    @property
    def vault(self) -> Path:
        """The key vault, beside the data as on a volume of its own."""
        return self.folder / "vault"

    @property
    def log(self) -> Path:
        """The stderr of all services started here."""
        return self.folder / "service.log"

    @property
    def environment(self) -> dict[str, str]:
        """The current environment, with all `CADUCEE_` settings replaced by this installation's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
        return inherited | {
            "CADUCEE_DATA_DIR": str(self.data),
            "CADUCEE_VAULT": str(self.vault),
            "CADUCEE_MIN_LIFETIME": "1s",
        }

    def run(self, *words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `caducee <words>` to completion, with `typed` as its stdin."""
        return subprocess.run(
            [CADUCEE, *words],
            input=typed,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def command(self, *words: str, typed: str | None = None) -> str:
        """The stdout of `caducee <words>`. Raises Deviation unless it exits 0."""
        done = self.run(*words, typed=typed)
        expect(done.returncode == 0, f"caducee {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Start `caducee serve` on a free port, yield an HTTP client of it, and stop that process at the end."""
        self.folder.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            port = free_port()
            process = subprocess.Popen([CADUCEE, "serve", "--port", str(port)], env=self.environment, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS, trust_env=False) as http:
                wait_for("the service accepts deposits", lambda: is_ready(http, process))
                yield http
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A loopback port that was free when checked; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(http: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    """Whether `/readyz` succeeds. It does once the first sweep has shown that deletion works."""
    expect(process.poll() is None, "the service did not start")
    try:
        return http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def run(play: Callable[[Path], None], *, name: str, verdict: str) -> int:
    """Call `play` with a scratch folder, remove the folder, and print `verdict`. Return 1 after a Deviation."""
    if not CADUCEE.exists():
        print(f"{CADUCEE} is missing: `make {name}` installs it")
        return 1
    with tempfile.TemporaryDirectory(prefix=f"caducee-{name}-") as folder:
        try:
            play(Path(folder))
        except (Deviation, httpx.HTTPError, subprocess.TimeoutExpired) as deviation:
            for log in sorted(Path(folder).rglob("service.log")):
                print(log.read_text(encoding="utf-8")[-2_000:])
            print(f"\nNOT as promised: {deviation}")
            return 1
    print(f"\n{verdict}")
    return 0
