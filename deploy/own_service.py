"""What the programs in this folder stand on: a service of their own, started as an operator would, and the telling.

Nothing is faked: `caducee serve` runs on a free port, with a data folder and a key vault of its own and its real
settings, except that a transfer may be as short as a second. Each run ends with what was promised, or with a Deviation.
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
    """The service did something else than what it promises."""


def expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Go on only if what was promised holds."""
    if not holds:
        raise Deviation(otherwise)


def step(title: str) -> None:
    """Open a step of the story."""
    print(f"\n== {title}")


def tell(text: str) -> None:
    """One line of the story."""
    print(f"   {text}", flush=True)


def wait_for(what: str, holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until it holds, for so long at the most."""
    deadline = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.1)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """Expect this refusal, and tell it."""
    said = answer.json()
    expect((answer.status_code, said.get("code")) == (status, code), f"{status} {code} was promised, not {said}")
    tell(f"{status} {code}: {said['title']}")


@dataclass(frozen=True)
class Installation:
    """A data folder and a key vault below `folder`; services and commands run on them, one after the other."""

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
        """What the services said on stderr."""
        return self.folder / "service.log"

    @property
    def environment(self) -> dict[str, str]:
        """Ours, without any setting of another service."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
        return inherited | {
            "CADUCEE_DATA_DIR": str(self.data),
            "CADUCEE_VAULT": str(self.vault),
            "CADUCEE_MIN_LIFETIME": "1s",
        }

    def run(self, *words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `caducee <words>` to its end, as an operator on the machine who types that."""
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
        """What `caducee <words>` prints; exit code 0 is expected."""
        done = self.run(*words, typed=typed)
        expect(done.returncode == 0, f"caducee {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Start `caducee serve` on a free port; stop it, and nothing else, at the end. Yields a client of it."""
        self.folder.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            port = free_port()
            process = subprocess.Popen([CADUCEE, "serve", "--port", str(port)], env=self.environment, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS, trust_env=False) as http:
                wait_for("the service takes deposits", lambda: is_ready(http, process))
                yield http
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(http: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    """Ask `/readyz`: deposits are taken only once a first sweep has shown that deletion works."""
    expect(process.poll() is None, "the service did not start")
    try:
        return http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def run(play: Callable[[Path], None], *, name: str, verdict: str) -> int:
    """Play in a scratch folder that is removed, and end with the verdict. Exit 1 with what deviated."""
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
