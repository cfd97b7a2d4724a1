"""What actions work with, built once per process: database, blob store, key vault, clock, queues."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import structlog

from app.db.engine import Database
from app.domain.vault_entry import EntryName
from app.runtime.clock import Clock
from app.runtime.hashing_queue import BoundedQueue, HashingQueue
from app.runtime.life_watch import LifeWatch
from app.runtime.settings import Settings
from app.runtime.stores import blob_store_of, key_vault_of
from app.runtime.vault_time import VaultTime
from app.storage.blob_store import BlobStore
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault

P = ParamSpec("P")
R = TypeVar("R")

THREADS_SQLITE, THREADS_POSTGRESQL = 2, 8
"""For blocking work. SQLite lets one transaction write at a time: more threads would only fight for the interpreter."""

CLAIMS_WAITING = 16
ISSUES_WAITING = 64
REPORTS_WAITING = 4

log = structlog.get_logger()


class Tally:
    """A count that many add to and one takes."""

    def __init__(self) -> None:
        """Start at zero."""
        self._count = 0

    def add(self) -> None:
        """One more."""
        self._count += 1

    def take(self) -> int:
        """The count so far, starting anew."""
        count, self._count = self._count, 0
        return count


@dataclass(frozen=True)
class Resources:
    """The stores and queues of one process. `claiming` and `issuing` are separate queues for Argon2: guessing at
    passwords must not keep depositors waiting. `downloads` counts those under way by claim, `life` watches their keys.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    vault: KeyVault
    clock: Clock
    threads: ThreadPoolExecutor
    claiming: HashingQueue = field(default_factory=lambda: HashingQueue(waiting=CLAIMS_WAITING))
    issuing: HashingQueue = field(default_factory=lambda: HashingQueue(waiting=ISSUES_WAITING))
    reporting: BoundedQueue = field(default_factory=lambda: BoundedQueue(waiting=REPORTS_WAITING))
    refused_links: Tally = field(default_factory=Tally)
    downloads: Counter[str] = field(default_factory=Counter)
    life: LifeWatch = field(init=False)
    vault_time: VaultTime = field(init=False)

    def __post_init__(self) -> None:
        """Watch nothing yet."""
        object.__setattr__(self, "life", LifeWatch(self.vault))
        object.__setattr__(self, "vault_time", VaultTime(self.vault, self.clock))

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run blocking work (database, vault) beside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: function(*args, **kwargs))

    async def at_once(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that reads a row by its index and no more. On SQLite here and now: readers wait for nobody, and
        the hop to a thread and back costs several times what the row does (docs/performance.md). Else in a thread.
        """
        if self.database.is_sqlite:
            return function(*args, **kwargs)
        return await self.in_thread(function, *args, **kwargs)

    def destroy_keys(self, names: Iterable[EntryName]) -> None:
        """Destroy keys whose end is committed. A failure is loud but does not fail the request: the rows say that
        the end was not observed yet, and the sweeper goes on trying.
        """
        names = list(names)
        try:
            self.vault.destroy(names)
        except StorageError as error:
            log.error("keys_not_destroyed_yet", keys=len(names), error=type(error).__name__, alert=True)

    def close(self) -> None:
        """Let go of everything."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.database.close()


def connect(settings: Settings, *, database: Database | None = None, installation_id: str | None = None) -> Resources:
    """Build the resources without touching any store. With `installation_id` the stores are that installation's."""
    os.umask(0o077)
    database = database or Database(settings.database_location)
    threads = ThreadPoolExecutor(THREADS_SQLITE if database.is_sqlite else THREADS_POSTGRESQL, "caducee")
    return Resources(
        settings=settings,
        database=database,
        # An fsync of a small blob takes about as long as a commit; more threads only contend for the GIL.
        blobs=blob_store_of(settings, installation_id=installation_id, threads=threads),
        vault=key_vault_of(settings, installation_id=installation_id),
        clock=Clock(),
        threads=threads,
    )
