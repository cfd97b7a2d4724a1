"""The resources of actions, created once per process: database, blob store, key vault, clock and queues."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from app.db.engine import Database
from app.domain.vault_entry import EntryName
from app.runtime import fairness
from app.runtime.clock import Clock
from app.runtime.fairness import Fairness
from app.runtime.fetch_log import FetchLog
from app.runtime.hashing_queue import FairQueue, HashingQueue
from app.runtime.identity_provider import IdentityProvider
from app.runtime.life_watch import LifeWatch
from app.runtime.operator_name import operator_name
from app.runtime.proved_claims import ProvedClaims
from app.runtime.refused_tokens import TokenRefusals
from app.runtime.separate_users import keep_own_entries, umask_of
from app.runtime.settings import Settings
from app.runtime.stores import blob_store_of, key_vault_of
from app.runtime.vault_time import VaultTime
from app.storage.blob_store import BlobStore
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.storage.own_entries import OwnEntries

P = ParamSpec("P")
R = TypeVar("R")

THREADS_SQLITE, THREADS_POSTGRESQL, THREADS_VAULT_POSTGRESQL = 2, 8, 32
"""Threads for blocking work. SQLite allows one writer at a time; more threads would only contend for the GIL. A thread
that destroys keys in a vault on PostgreSQL waits until their bytes are erased, which takes up to seconds.
"""

CLAIMS_WAITING = 16
ISSUES_WAITING = 256
REPORTS_WAITING = 4
"""Waiting callers of one party: recipients at one address, or one access token."""

log = structlog.get_logger()


class Tally:
    """A counter with many producers and one consumer, which resets it."""

    def __init__(self) -> None:
        """Start at zero."""
        self._count = 0

    def add(self) -> None:
        """Increment the count."""
        self._count += 1

    def take(self) -> int:
        """Return the count and reset it to zero."""
        count, self._count = self._count, 0
        return count


@dataclass(frozen=True)
class Resources:
    """The stores and queues of one process. `claiming` and `issuing` are separate queues for Argon2, so that password
    guessing does not delay depositors. `downloads` counts running downloads by claim, `fetches` those that are not
    logged yet; `life` watches their keys. `token_hours` holds the hour in which each token's use was noted last,
    `sessions_noting` the sessions whose use a thread is noting.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    vault: KeyVault
    clock: Clock
    threads: ThreadPoolExecutor
    claiming: HashingQueue = field(default_factory=lambda: HashingQueue(waiting=CLAIMS_WAITING))
    issuing: HashingQueue = field(default_factory=lambda: HashingQueue(waiting=ISSUES_WAITING))
    reporting: FairQueue = field(default_factory=lambda: FairQueue(waiting=REPORTS_WAITING))
    fairness: Fairness = field(default_factory=Fairness)
    proved_claims: ProvedClaims = field(default_factory=ProvedClaims)
    refused_links: Tally = field(default_factory=Tally)
    refused_tokens: TokenRefusals = field(default_factory=TokenRefusals)
    refused_sign_ins: TokenRefusals = field(default_factory=TokenRefusals)
    token_hours: dict[str, datetime] = field(default_factory=dict)
    sessions_noting: set[str] = field(default_factory=set)
    fetches: FetchLog = field(default_factory=FetchLog)
    downloads: Counter[str] = field(default_factory=Counter)
    provider: IdentityProvider | None = field(init=False)
    life: LifeWatch = field(init=False)
    vault_time: VaultTime = field(init=False)

    def __post_init__(self) -> None:
        """Create the members that depend on others."""
        has_provider = self.settings.oidc_issuer is not None
        provider = IdentityProvider(self.settings, self.settings.staff_origin) if has_provider else None
        object.__setattr__(self, "provider", provider)
        object.__setattr__(self, "life", LifeWatch(self.vault))
        object.__setattr__(self, "vault_time", VaultTime(self.vault, self.clock))

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run blocking work (database, vault) in a thread."""
        loop = asyncio.get_running_loop()
        async with fairness.step():
            return await loop.run_in_executor(self.threads, lambda: function(*args, **kwargs))

    async def at_once(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that only reads a row by its index: on SQLite in this thread, because readers never wait for locks
        and a thread switch costs more than the row (docs/performance.md); otherwise in a worker thread.
        """
        if self.database.is_sqlite:
            return function(*args, **kwargs)
        return await self.in_thread(function, *args, **kwargs)

    def destroy_keys(self, names: Iterable[EntryName]) -> bool:
        """Destroy keys whose end is committed. A failure is logged as an alert but does not fail the request: the rows
        record that the destruction was not observed, and the sweeper retries. Return whether it succeeded.
        """
        names = list(names)
        try:
            self.vault.destroy(names)
        except StorageError as error:
            log.error("keys_not_destroyed_yet", keys=len(names), error=type(error).__name__, alert=True)
            return False
        return True

    def close(self) -> None:
        """Stop the threads and close database and vault."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.vault.close()
        self.database.close()


def connect(settings: Settings, *, database: Database | None = None, installation_id: str | None = None) -> Resources:
    """Build the resources without accessing any store; with `installation_id`, the stores accept only that id."""
    os.umask(umask_of(settings))
    if database is None:
        database = Database(settings.database_location)
        database.operator = operator_name
        database.before_commit = partial(keep_own_entries, OwnEntries(settings.signing_dir))
    threads = ThreadPoolExecutor(_threads_for(settings, database), "caducee")
    return Resources(
        settings=settings,
        database=database,
        # An fsync of a small blob takes about as long as a commit; more threads only contend for the GIL.
        blobs=blob_store_of(settings, installation_id=installation_id, threads=threads),
        vault=key_vault_of(settings, installation_id=installation_id),
        clock=Clock(),
        threads=threads,
    )


def _threads_for(settings: Settings, database: Database) -> int:
    if settings.vault_dir is None:
        return THREADS_VAULT_POSTGRESQL
    return THREADS_SQLITE if database.is_sqlite else THREADS_POSTGRESQL
