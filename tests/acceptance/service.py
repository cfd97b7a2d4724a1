"""Caducée as an operator starts it: a data folder, commands run on it, and `caducee serve` on a free loopback port.

Everything in here goes through the program; nothing of the service is imported.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance import warm_start
from tests.acceptance.engines import IN_BUCKET, bucket_of, engine_variables, open_uploads
from tests.acceptance.warm_start import PROGRAM, Program, Start
from tests.full_rights import drop_triggers

START_SECONDS = 60
PATIENCE_SECONDS = 15
AT_ONCE = 8
"""Seconds within which a machine that is busy with other things does what a quiet one does in one."""

QUICK = {
    "CADUCEE_ARGON2_TIME": "1",
    "CADUCEE_ARGON2_MEMORY_KIB": "64",
    "CADUCEE_ARGON2_LANES": "1",
    "CADUCEE_MIN_LIFETIME": "1s",
    "CADUCEE_MIN_FREE_BYTES": "1000000",
}
"""Settings that make the whole life of a file fit into a second or two."""


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: nothing here speaks TLS, and to load the authorities of a context of its own costs each client 30 ms.
"""


def until(
    condition: Callable[[], object], *, seconds: float = PATIENCE_SECONDS, what: str = "it", every: float = 0.05
) -> Any:
    """Wait for a condition, and answer what it came to. Fails the test when it does not come in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        outcome = condition()
        if outcome:
            return outcome
        time.sleep(every)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that stdout is; anything else beside it fails here."""
        return json.loads(self.out)


class Installation:
    """A data folder with its settings. It outlives the servers that are started on it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Take the place; the first command or server makes what it needs. Settings by name, like `DEADMAN="2s"`."""
        self.folder = folder
        self.data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = QUICK | {"CADUCEE_DATA_DIR": str(self.data)} | engine_variables(folder) | _variables(settings)

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment a program gets: ours without any setting of the service, then this installation's."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("CADUCEE_")}
        return outside | self._settings | _variables(settings)

    def run(self, *arguments: str, code: int | None = 0, typed: str | None = None, **settings: str) -> Ran:
        """Run a command to its end; another exit code than `code` fails the test (None: any)."""
        done = Ran(*warm_start.run(arguments, self.folder, self.environment(**settings), typed))
        assert code is None or done.code == code, f"{arguments}: {done.code}\n{done.out}{done.err}"
        return done

    def token(self, role: str = "staff", *, name: str = "") -> str:
        """A new access token; without a name, under one that nobody else has. Makes the installation if need be."""
        self.make()
        token: str = self.run("token", "create", name or f"test {secrets.token_hex(8)}", "--role", role, "--json").json[
            "token"
        ]
        return token

    def make(self) -> None:
        """Create the installation, unless there is a database."""
        if not self.database.exists():
            self.run("db", "upgrade")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database itself, reading only."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def alter(self, statement: str, *values: object) -> int:
        """Change the database itself, as somebody with full rights over it. Answers how many rows changed."""
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            drop_triggers(connection)
            return connection.execute(statement, values).rowcount

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "db" / "caducee.sqlite"

    def files(self, store: str) -> list[Path]:
        """What lies in a store, without what only marks it as one (`installation`, the backup tag, the marks)."""
        folder = self.blobs if store == "blobs" else self.data / store
        return sorted(p for p in folder.rglob("*") if p.is_file() and not _only_marks(p.name))

    @property
    def blobs(self) -> Path:
        """The folder of the blobs; of a bucket, the one in which its server keeps the objects."""
        return bucket_of(self.folder).resolve() if IN_BUCKET else self.data / "blobs"

    def unfinished_blobs(self) -> list[str]:
        """The blobs that are being written, or whose writer died."""
        return open_uploads(self.folder) if IN_BUCKET else [path.name for path in (self.blobs / "incoming").iterdir()]

    def key_files(self) -> list[Path]:
        """The entries of the key vault, without the hours' own keys."""
        return [path for path in self.files("vault") if path.name != "hour.key"]

    def bytes_at_rest(self) -> dict[Path, bytes]:
        """Every byte below the data folder: database, its write-ahead log, vault, blobs, keys."""
        return {path: path.read_bytes() for path in self.data.rglob("*") if path.is_file()}

    @contextmanager
    def serving(self, *options: str, **settings: str) -> Iterator[Server]:
        """A server, ready, and gone afterwards with all its processes, whatever the test did to it."""
        server = Server.start(self, *options, **settings)
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.end()


class Server:
    """One running `caducee serve`, the leader of a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes] | Program, port: int, log: Path) -> None:
        """Take over a process that was just started."""
        self.process = process
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self._log = log

    @classmethod
    def start(cls, installation: Installation, *options: str, **settings: str) -> Server:
        """Start without waiting. What it says goes to a file, stdout and stderr alike."""
        port = int(options[options.index("--port") + 1]) if "--port" in options else free_port()
        log = installation.folder / f"serve-{port}.log"
        arguments = ["serve", "--port", str(port), "--workers", "1", *options]  # the last --workers counts
        environment = installation.environment(**settings)
        if "--workers" not in options:
            start = Start(arguments, installation.folder, environment, out=log, err=log, leads_group=True)
            return cls(Program(start), port, log)
        with log.open("ab") as said:
            process = subprocess.Popen(
                [PROGRAM, *arguments],
                cwd=installation.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return cls(process, port, log)

    @property
    def log(self) -> str:
        """Everything that was said so far."""
        return self._log.read_text("utf-8", "replace")

    def http(self, token: str | None = None, *, host: str | None = None) -> httpx.Client:
        """A client of this server, under another `Host` if one is given. Variables of proxies do not count."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if host:
            headers["Host"] = host
        return httpx.Client(base_url=self.origin, headers=headers, timeout=30, trust_env=False, verify=NO_TLS)

    def wait_until_ready(self) -> None:
        """Wait for `/readyz`."""

        def ready() -> bool:
            assert self.process.poll() is None, f"serve ended: {self.process.returncode}\n{self.log}"
            try:
                return http.get("/readyz").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        with self.http() as http:
            until(ready, seconds=START_SECONDS, what="readiness")

    def processes(self) -> dict[int, str]:
        """All processes of the group by pid, each with its command line. From /proc, so that nothing is missed."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and _group_of(int(folder.name)) == self.process.pid:
                found[int(folder.name)] = _read(folder / "cmdline").replace("\0", " ").strip()
        return found

    def scheduler(self) -> int | None:
        """The pid of the scheduler child."""
        return next((pid for pid, command in self.processes().items() if "-m scheduler" in command), None)

    def workers(self) -> list[int]:
        """The pids of the processes that answer: the children that uvicorn spawned, or the one process itself."""
        spawned = [pid for pid, command in self.processes().items() if "spawn_main" in command]
        return spawned or [self.process.pid]

    def stop(self) -> int:
        """Ask it to end, as a service manager would, and wait. Answers the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill the whole group at once, as a power cut would."""
        if self.processes():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)
        until(lambda: not self.processes(), what="the end of the group")

    def end(self) -> None:
        """Leave nothing running, whatever state it is in."""
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        self.kill()


def accepts(host: str, port: int) -> bool:
    """Whether something listens there."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, port)) == 0


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def resident_bytes(pid: int) -> int:
    """How much memory a process has in RAM now (VmRSS)."""
    return int(_read(Path(f"/proc/{pid}/status")).partition("VmRSS:")[2].split()[0]) * 1024


def _only_marks(name: str) -> bool:
    """Also a mark's temporary file: a writer that was killed leaves it, with nothing secret in it."""
    marks = {"installation", "CACHEDIR.TAG", "high-water", "purge-time", "reconciled"}
    return re.sub(r"\.[0-9a-f]{16}\.new$", "", name) in marks or name.startswith("anchor.")


def _variables(settings: dict[str, str]) -> dict[str, str]:
    return {f"CADUCEE_{name.upper()}": value for name, value in settings.items()}


def _group_of(pid: int) -> int | None:
    """The process group of a living process; a zombie has ended."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[2]) if fields and fields[0] != "Z" else None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
