"""Several hosts: nodes with a data folder each, on one PostgreSQL, one vault on PostgreSQL and one bucket.

Each node has a port of its own in place of an address. The first one signs the log.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.acceptance.service import NO_TLS, Installation, Server, free_port, until

Again = tuple[type[httpx.TransportError], ...]


class Node(Installation):
    """One host."""

    def __init__(self, folder: Path, stores: dict[str, str], *, signs: bool) -> None:
        """`stores` are variables with their names as the program reads them."""
        super().__init__(folder, SIGN_LOG="1" if signs else "0", ORPHAN_GRACE="1s")
        self._settings |= stores
        self._database_url = stores["CADUCEE_DATABASE_URL"].replace("+psycopg", "")

    def make(self) -> None:
        """Create the installation, or find it created."""
        self.run("db", "upgrade")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()


class Cluster:
    """Running nodes, which may be killed, stopped and started again."""

    def __init__(self, folder: Path, stores: dict[str, str], count: int) -> None:
        """Start `count` nodes; the first two run a scheduler each."""
        self.nodes = [Node(folder / f"node-{number}", stores, signs=number == 0) for number in range(count)]
        self.token = self.nodes[0].token()
        self._ports = [free_port() for _ in self.nodes]
        self.servers = [self._start(number) for number in range(count)]
        self._turn = itertools.count()
        for server in self.servers:
            server.wait_until_ready()

    @property
    def signer(self) -> Node:
        return self.nodes[0]

    def restart(self, number: int, *, kill: bool = False) -> None:
        """Stop a node, or kill it with all its processes, and start it again."""
        if kill:
            self.servers[number].kill()
        else:
            self.servers[number].process.send_signal(signal.SIGTERM)
            self.servers[number].process.wait(40)
        self.servers[number] = self._start(number)

    def end(self) -> None:
        with ExitStack() as stack:
            for server in self.servers:
                stack.callback(server.end)

    def ask(self, method: str, path: str, *, again_after: Again, **given: Any) -> httpx.Response:
        """One request as a proxy passes it on, over a connection of its own: where a node refuses the connection or
        answers 503, or an error of `again_after` happens, to the next node.
        """
        deadline = time.monotonic() + 60
        while True:
            server = self.servers[next(self._turn) % len(self.servers)]
            body = given.get("content")
            try:
                with httpx.Client(base_url=server.origin, timeout=30, trust_env=False, verify=NO_TLS) as http:
                    answer = http.request(method, path, **given)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    return answer
            except httpx.TransportError as error:
                if not isinstance(error, (httpx.ConnectError, *again_after)):
                    raise
                if time.monotonic() > deadline:
                    raise
            assert body is None or isinstance(body, bytes), "a stream cannot be sent again"
            time.sleep(0.05)

    def until_row(self, query: str, expected: object, *, seconds: float, what: str) -> None:
        until(lambda: self.signer.rows(query) == [(expected,)], seconds=seconds, what=what, every=0.5)

    def _start(self, number: int) -> Server:
        options = ["--port", str(self._ports[number]), *([] if number < 2 else ["--no-scheduler"])]
        return Server.start(self.nodes[number], *options)


def all_at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """Run all of them at the same time, each in a thread; return what they return."""
    with ThreadPoolExecutor(len(acts)) as threads:
        return [future.result() for future in [threads.submit(act) for act in acts]]
