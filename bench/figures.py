"""The figures and their goals. Each figure compares baseline and service within one run. The two alternate, round by
round, so that a busy or slow machine affects both alike. A figure is the median of all rounds; for CPU, the median of
their ratios.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crypto.chunked import CHUNK_BYTES
from app.terminal.serve import DEFAULT_WORKERS
from bench import clients, listing, load, pages, servers, verification
from bench.postgresql import postgresql
from bench.servers import Server, Service
from bench.wire import Connection

MIB, GIB = 1 << 20, 1 << 30
SETTLE_SECONDS = 0.15
"""Wait after each request, because the service logs a download only after its last byte."""

CLIENT_KEY = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo"
DEPOSIT_GOAL, FETCH_GOAL, VERIFY_GOAL = 1.3, 1.25, 3
"""Maximum ratios of CPU time (docs/adr/0021-no-tricks-for-speed.md): of a deposit to the bare handler; of a fetch to
the bare handler and AES together, because the cost of AES depends on the processor; of verifying the log to a plain
loop.
"""

CLIENT_GOAL = 1.67
"""Maximum ratio of the time of a sealed `send` or `get` to curl's: 0.6 of its rate."""

LISTED, LIST_GOAL = 10_000, 5
"""Transfers of the depositor whose list is compared with an empty one, and the maximum ratio of the times."""

PAGE_GOAL = 1.67
"""Maximum ratio of the time of an upload of 1 GiB by page to the same page encrypting without sending: 0.6 of its rate.
Of a small file, most of the time is that of the requests around it.
"""

START_GOAL = 1.5
"""Maximum ratio of the time until the staff's page can be used to that of the recipient's."""

STARTS = 9
MEMORY_GOAL_MB = 150
FETCHES_PER_CLAIM = 3
SYNCS_PER_SMALL_DEPOSIT = 8
"""Three commits, the vault entry and its folder, the blob and its two folders."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The amount of work per measurement."""

    rounds: int
    bytes_each: int
    memory_bytes: tuple[int, ...]
    small_rounds: int
    small_seconds: float
    log_entries: int
    connections: int = 8


FULL = Plan(
    rounds=6, bytes_each=512 * MIB, memory_bytes=(64 * MIB, GIB), small_rounds=6, small_seconds=3, log_entries=200_000
)
QUICK = Plan(
    rounds=3,
    bytes_each=128 * MIB,
    memory_bytes=(16 * MIB, 128 * MIB),
    small_rounds=1,
    small_seconds=2,
    log_entries=30_000,
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `goal` is None for a figure that only explains another one."""

    name: str
    measured: float
    unit: str
    goal: float | None = None
    service: str = ""
    baseline: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is at most its goal; True without one."""
        return self.goal is None or self.measured <= self.goal


def measure(plan: Plan, folder: Path, say: Callable[[str], None]) -> Iterator[Figure]:
    """Yield each figure once it is measured. `say` is called with the name of each measurement before it starts."""
    with servers.bare(folder / "bare") as bare, servers.service(folder / "service") as service:
        say("deposits: CPU")
        yield _cpu("deposit, CPU per byte", DEPOSIT_GOAL, *_deposits(plan, bare, service))
        say("fetches: CPU")
        ours, theirs, aes = _fetches(plan, bare, service)
        yield _cpu("fetch, CPU per byte", None, ours, theirs)
        yield _cpu("AES by itself, CPU per byte", None, aes, theirs)
        least = [their + alone for their, alone in zip(theirs, aes, strict=True)]
        yield _cpu("fetch, to bare and AES together", FETCH_GOAL, ours, least)
        say("memory")
        yield from _memory(plan, service)
        say("send and get")
        yield from _clients(plan, service, folder / "client")
        if shutil.which("chromium"):
            say("pages in Chromium")
            yield from _pages(plan, service, folder)
        else:
            say("pages: NOT MEASURED, Chromium is missing")
        say("small deposits")
        with servers.service(folder / "all", workers=DEFAULT_WORKERS) as usual:
            yield from _small(plan, folder, {"bare": bare, "one": service, "usual": usual})
    say("lists of transfers")
    yield from _lists(plan, folder)
    say("verification of the log")
    yield _verification(plan, folder / "log")


def _deposits(plan: Plan, bare: Server, service: Service) -> tuple[list[float], list[float]]:
    """Return CPU seconds per GiB received, of the service and of the bare handler, one per round."""
    ours, theirs = list[float](), list[float]()
    for _ in range(plan.rounds):
        theirs.append(_deposit_to(bare, "/file", {}, plan.bytes_each))
        _forget_file(bare)
        with _transfer(service) as (path, headers):
            ours.append(_deposit_to(service, f"{path}/files/x", headers, plan.bytes_each))
    return ours, theirs


def _forget_file(bare: Server) -> None:
    connection = Connection(bare.port)
    assert connection.ask("DELETE", "/file").status < 300
    connection.close()


def _deposit_to(server: Server, path: str, headers: dict[str, str], size: int) -> float:
    _warm_memory(server.folder, size)
    with _metered(server, size) as cost:
        load.run({"job": "send", "port": server.port, "path": path, "headers": headers, "bytes": size})
    return cost[0]


def _warm_memory(folder: Path, size: int) -> None:
    """Fill `size` bytes of page cache and release them. A virtual machine must request memory that it has not used
    lately from its host. That costs as much as the deposit itself, and would count for the first server that writes.
    """
    with tempfile.TemporaryFile(dir=folder) as scratch:
        for _ in range(size // MIB):
            scratch.write(b"\xa5" * MIB)


def _fetches(plan: Plan, bare: Server, service: Service) -> tuple[list[float], list[float], list[float]]:
    """Return CPU seconds per GiB sent, of the service, of the bare handler, and of AES alone, one per round."""
    ours, theirs, aes = list[float](), list[float](), list[float]()
    _deposit_to(bare, "/file", {}, plan.bytes_each)
    for _ in range(0, plan.rounds, FETCHES_PER_CLAIM):
        with _claim(service, plan.bytes_each) as (path, headers):
            for _ in range(FETCHES_PER_CLAIM):
                theirs.append(_fetch_from(bare, "/file", {}, plan.bytes_each))
                ours.append(_fetch_from(service, path, headers, plan.bytes_each))
                aes.append(_aes(plan.bytes_each))
    return ours, theirs, aes


def _aes(size: int) -> float:
    """Return the CPU seconds per GiB that the library needs to decrypt chunks. It decrypts the same chunk, which stays
    in the processor's cache, again and again: the minimum cost of a fetch in this format.
    """
    cipher, nonce, plain = AESGCM(bytes(32)), bytes(12), bytearray(CHUNK_BYTES)
    sealed = cipher.encrypt(nonce, bytes(CHUNK_BYTES), None)
    started = time.thread_time()
    for _ in range(size // CHUNK_BYTES):
        cipher.decrypt_into(nonce, sealed, None, plain)
    return (time.thread_time() - started) * GIB / size


def _fetch_from(server: Server, path: str, headers: dict[str, str], size: int) -> float:
    with _metered(server, size) as cost:
        load.run({"job": "fetch", "port": server.port, "path": path, "headers": headers, "bytes": size})
    return cost[0]


def _memory(plan: Plan, service: Service) -> Iterator[Figure]:
    """Measure the peak memory of the serving process, during a deposit and a fetch of each size."""
    for size in plan.memory_bytes:
        service.forget_peak()
        with _claim(service, size) as (path, headers):
            deposit = service.peak_bytes() / 1e6
            service.forget_peak()
            _fetch_from(service, path, headers, size)
            fetch = service.peak_bytes() / 1e6
        for name, peak in (("deposit", deposit), ("fetch", fetch)):
            yield Figure(f"{name} of {size // MIB} MiB, peak memory", peak, "MB", MEMORY_GOAL_MB)


def _clients(plan: Plan, service: Service, folder: Path) -> Iterator[Figure]:
    """Measure the time of a sealed `send` and of `get`, relative to curl with the same file and service: the fastest
    round of each, because other processes only add to it.
    """
    sent, curl_sent, fetched, curl_fetched = clients.rounds(
        service, folder, size=plan.memory_bytes[-1], count=plan.rounds
    )
    for name, ours, theirs in (("sealed send", sent, curl_sent), ("get", fetched, curl_fetched)):
        least = [min(ours), min(theirs)]
        yield Figure(
            f"{name} to curl, time", least[0] / least[1], "times", CLIENT_GOAL, *(f"{it:.2f} s" for it in least)
        )


def _lists(plan: Plan, folder: Path) -> Iterator[Figure]:
    with servers.service(folder / "list-sqlite") as service:
        yield _list("SQLite", plan, service)
    with postgresql() as url:
        if url is None:
            return
        with servers.service(folder / "list-postgresql", database_url=url) as service:
            yield _list("PostgreSQL", plan, service)


def _list(kind: str, plan: Plan, service: Service) -> Figure:
    """Measure the time of the page's first list, of thousands of transfers relative to none."""
    none = service.new_token("none")
    listing.seed(service, count=LISTED)
    many, empty = listing.rounds(service, of_many=service.token, of_none=none, count=10 * plan.rounds)
    times = [statistics.median(many), statistics.median(empty)]
    name = f"the first of {LISTED:,} transfers to an empty list, {kind}"
    return Figure(name, times[0] / times[1], "times", LIST_GOAL, *(f"{1000 * it:.1f} ms" for it in times))


def _pages(plan: Plan, service: Service, folder: Path) -> Iterator[Figure]:
    """Measure an upload by the staff's page, relative to the same page encrypting without sending (the fastest round of
    each), and when the pages can be used.
    """
    size = plan.memory_bytes[-1]
    sent, encrypted = pages.uploads(service, folder / "pages", size=size, count=max(2, plan.rounds // 2))
    goal = PAGE_GOAL if size >= GIB else None
    times = [f"{min(it):.2f} s" for it in (sent, encrypted)]
    yield Figure("upload by page to encrypting, time", min(sent) / min(encrypted), "times", goal, *times)
    staffs, recipients = pages.starts(service, folder / "starts", count=STARTS)
    for name, ours, theirs in (("cold", staffs.cold, recipients.cold), ("warm", staffs.warm, recipients.warm)):
        usual = [statistics.median(ours), statistics.median(theirs)]
        times = [f"{median:.0f} ms (least {min(it):.0f})" for median, it in zip(usual, (ours, theirs), strict=True)]
        yield Figure(f"staff's page usable, {name}, to recipient's", usual[0] / usual[1], "times", START_GOAL, *times)


def _small(plan: Plan, folder: Path, running: dict[str, Server]) -> Iterator[Figure]:
    """Measure deposits of 64 KiB per second, with the default number of workers and with one, and fsyncs per second."""
    rates: dict[str, list[float]] = {name: [] for name in (*running, "syncs")}
    cpu = list[float]()
    for _ in range(plan.small_rounds):
        rates["syncs"].append(_syncs_per_second(folder / "syncs", min(1.0, plan.small_seconds)))
        for name, server in running.items():
            before = server.cpu_seconds()
            rate, count = _deposit_small(server, plan)
            rates[name].append(rate)
            if name == "one":
                cpu.append((server.cpu_seconds() - before) / count * 1000)
    bare, one, usual, syncs = (statistics.median(rates[name]) for name in ("bare", "one", "usual", "syncs"))
    compared = f"{bare:.0f} /s with the same syncs"
    workers = f"{DEFAULT_WORKERS} workers" if DEFAULT_WORKERS > 1 else "1 worker"
    yield Figure(f"deposits of 64 KiB, {workers}", usual, "/s", baseline=compared)
    yield Figure("deposits of 64 KiB, 1 worker", one, "/s", baseline=compared)
    yield Figure("deposits of 64 KiB, 1 worker to bare", one / bare, "times")
    share = one * SYNCS_PER_SMALL_DEPOSIT / syncs
    yield Figure("their syncs to one thread's fsyncs", share, "times", baseline=f"{syncs:.0f} fsync/s")
    yield Figure("deposit of 64 KiB, CPU", statistics.median(cpu), "ms", service=f"least {min(cpu):.1f} ms")


def _verification(plan: Plan, folder: Path) -> Figure:
    """Measure the CPU of verifying the log, relative to a plain loop over the same rows."""
    ours, theirs = verification.rounds(folder, entries=plan.log_entries, rounds=plan.rounds)
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
    return Figure(
        f"verification of {plan.log_entries:,} entries, CPU",
        ratio,
        "plain loops",
        VERIFY_GOAL,
        service=f"{statistics.median(ours):.2f} s",
        baseline=f"{statistics.median(theirs):.2f} s in the plain loop",
    )


def _deposit_small(server: Server, plan: Plan) -> tuple[float, int]:
    headers = _depositor(server) if isinstance(server, Service) else {}
    job = {"job": "deposit_small", "port": server.port, "headers": headers}
    found = load.run({**job, "connections": plan.connections, "seconds": plan.small_seconds})
    return found["deposits"] / found["seconds"], found["deposits"]


def _syncs_per_second(path: Path, seconds: float) -> float:
    """Return how many times per second a single thread can append 4 KiB and call fsync."""
    descriptor, count = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 0
    try:
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            os.write(descriptor, b"\xa5" * 4096)
            os.fsync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
    return count / elapsed


def _depositor(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.token}", "Caducee-Client-Key": CLIENT_KEY}


@contextmanager
def _transfer(service: Service) -> Iterator[tuple[str, dict[str, str]]]:
    """Open a transfer and yield its path and the headers for requests on it. Delete it afterwards."""
    headers = _depositor(service)
    connection = Connection(service.port, headers)
    opened = connection.ask("POST", "/api/v1/transfers", b"{}", Content_Type="application/json").json()
    path = f"/api/v1/transfers/{opened['id']}"
    yield path, headers
    connection = Connection(service.port, headers)
    assert connection.ask("DELETE", path).status == 204
    connection.close()


@contextmanager
def _claim(service: Service, size: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Deposit and claim a file of `size` bytes; yield its path and the headers to fetch it."""
    with _transfer(service) as (path, headers):
        _deposit_to(service, f"{path}/files/x", headers, size)
        connection = Connection(service.port)
        asked = b'{"recipient": "bench"}'
        share = connection.ask("POST", f"{path}/shares", asked, Content_Type="application/json", **headers).json()
        secret = share["link"].partition("#")[2]
        asked = f'{{"link_secret": "{secret}", "password": "{share["password"]}"}}'.encode()
        place = f"/api/v1/shares/{share['share_id']}/claim"
        claim = connection.ask("POST", place, asked, Content_Type="application/json").json()
        connection.close()
        yield f"/api/v1/claims/{claim['claim_id']}/files/0", {"Authorization": f"Bearer {claim['claim_token']}"}


@contextmanager
def _metered(server: Server, size: int) -> Iterator[list[float]]:
    """Yield a list; after the block it contains the CPU seconds per GiB that the server used."""
    cost, before = list[float](), server.cpu_seconds()
    yield cost
    time.sleep(SETTLE_SECONDS)
    cost.append((server.cpu_seconds() - before) * GIB / size)


def _cpu(name: str, goal: float | None, ours: list[float], theirs: list[float]) -> Figure:
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
    return Figure(name, ratio, "times", goal, service=_seconds(ours), baseline=_seconds(theirs))


def _seconds(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.2f} s/GiB (least {ordered[0]:.2f})"
