"""What actions work with, built once per process: database, blob store, key vault, clock, queues.

Also the check that the three stores belong together: each carries the installation's id, and a missing or foreign one
stops the start (an unmounted vault or a mistyped database URL must not look like a fresh install).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import structlog

from app.crypto import merkle
from app.crypto.encoding import encode
from app.crypto.token import new_id
from app.db import service_rows
from app.db.engine import Database
from app.db.read_only import ReadOnlyDatabase
from app.db.schema import require_current, require_this_schema
from app.domain.audit_events import Entry, Event
from app.domain.clock import Clock
from app.domain.high_water import HighWater
from app.domain.vault_entry import EntryName
from app.hashing_queue import BoundedQueue, HashingQueue
from app.life_watch import LifeWatch
from app.settings import Settings
from app.storage.blob_store import BlobStore
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.storage.local_disk import LocalDisk
from app.storage.vault_folder import VaultFolder
from app.storage.vault_marks import write_boot_time
from app.vault_time import VaultTime

P = ParamSpec("P")
R = TypeVar("R")

THREADS_SQLITE, THREADS_POSTGRESQL = 2, 8
"""For blocking work. SQLite lets one transaction write at a time: more threads would only fight for the interpreter."""

NEW_BESIDE_USED = "the database is new, but blobs or vault are in use: is this the right database?"

CLAIMS_WAITING = 16
ISSUES_WAITING = 64
REPORTS_WAITING = 4

log = structlog.get_logger()


class InstallationMismatch(Exception):
    """Database, blobs and vault do not carry the same installation id."""


class NoInstallation(Exception):
    """There is no database where the settings say: only `caducee serve` and `caducee db upgrade` make one."""


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
    claiming: HashingQueue = field(default_factory=lambda: HashingQueue(waiting=CLAIMS_WAITING))
    issuing: HashingQueue = field(default_factory=lambda: HashingQueue(waiting=ISSUES_WAITING))
    reporting: BoundedQueue = field(default_factory=lambda: BoundedQueue(waiting=REPORTS_WAITING))
    refused_links: Tally = field(default_factory=Tally)
    downloads: Counter[str] = field(default_factory=Counter)
    life: LifeWatch = field(init=False)
    vault_time: VaultTime = field(init=False)
    threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        """Start no thread yet."""
        count = THREADS_SQLITE if self.database.is_sqlite else THREADS_POSTGRESQL
        object.__setattr__(self, "life", LifeWatch(self.vault))
        object.__setattr__(self, "threads", ThreadPoolExecutor(count, "caducee"))
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


def connect(settings: Settings) -> Resources:
    """Build the resources without touching any store."""
    os.umask(0o077)
    return Resources(
        settings=settings,
        database=Database(settings.database_location),
        blobs=LocalDisk(settings.blobs_dir, min_free_bytes=settings.min_free_bytes),
        vault=VaultFolder(settings.vault_dir),
        clock=Clock(),
    )


def open_resources(settings: Settings) -> Resources:
    """Build the resources of a service in use. Raises SchemaOutdated, InstallationMismatch or a store's error."""
    resources = connect(settings)
    try:
        _open_stores(resources)
    except BaseException:
        resources.close()
        raise
    return resources


def open_to_look(settings: Settings) -> Resources:
    """Build the resources of an installation that is only looked at: nothing is written, made or adopted, whoever asks.
    Raises DatabaseUnavailable, SchemaOutdated, InstallationMismatch; absent stores say so when they are asked.
    """
    database = ReadOnlyDatabase(settings.database_location)
    require_this_schema(database)
    with database.reading() as connection:
        state = service_rows.find(connection)
    if state is None:
        raise InstallationMismatch("nobody has taken this database into use")
    of = state.installation_id
    resources = Resources(
        settings=settings,
        database=database,
        blobs=LocalDisk(settings.blobs_dir, min_free_bytes=settings.min_free_bytes, installation_id=of),
        vault=VaultFolder(settings.vault_dir, installation_id=of),
        clock=Clock(),
    )
    resources.vault_time.refresh()
    return resources


def open_database_only(settings: Settings) -> Database:
    """Open the database of an installation in use and no other store: for commands that must work when vault, blobs
    and clock do not. Nothing is created. Raises NoInstallation, SchemaOutdated, DatabaseUnavailable.
    """
    database = Database(settings.database_location)
    try:
        _require_in_use(database)
    except BaseException:
        database.close()
        raise
    return database


def _require_in_use(database: Database) -> None:
    if database.file is not None and not database.file.is_file():
        raise NoInstallation(f"there is no database {database.file}: is CADUCEE_DATA_DIR right?")
    require_this_schema(database)
    with database.reading() as connection:
        if service_rows.find(connection) is None:
            raise NoInstallation("nobody has taken this database into use: is CADUCEE_DATABASE_URL right?")


def require_vault_of(database: Database, vault: KeyVault) -> None:
    """Raise InstallationMismatch unless the vault carries the database's installation id; NoInstallation when the
    database has none. Blobs are not asked, and the database may have an older schema.
    """
    with database.reading() as connection:
        installation_id = service_rows.find_installation_id(connection)
    if installation_id is None:
        raise NoInstallation("nobody has taken this database into use")
    _require_carries(installation_id, "vault", vault.installation())


def require_vault_not_foreign(database: Database, vault: KeyVault) -> None:
    """Raise InstallationMismatch if the vault carries the id of another installation than the database. A vault that
    cannot be read, or carries none, is no other one: it is unmounted, say. Blobs are not asked.
    """
    with database.reading() as connection:
        installation_id = service_rows.get(connection).installation_id
    carried = None
    with suppress(StorageError):
        carried = vault.installation()
    if carried not in (None, installation_id):
        raise InstallationMismatch("database and vault do not belong together: is CADUCEE_DATABASE_URL right?")


def _open_stores(resources: Resources) -> None:
    file = resources.database.file
    if file is not None and not file.exists() and _in_use(resources):  # mistyped: it must not come to be
        raise InstallationMismatch(NEW_BESIDE_USED)
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    if state is None:
        state = _take_into_use(resources)
    require_same_installation(resources)
    for store in (resources.blobs, resources.vault):
        store.adopt(state.installation_id)  # from here on each proves itself: it may be exchanged while we run
    resources.vault_time.refresh()


def require_same_installation(resources: Resources) -> None:
    """Raise InstallationMismatch unless database, blobs and vault carry one and the same id."""
    with resources.database.reading() as connection:
        installation_id = service_rows.get(connection).installation_id
    _require_carries(installation_id, "blobs", resources.blobs.installation())
    _require_carries(installation_id, "vault", resources.vault.installation())


def _require_carries(installation_id: str, store: str, carried: str | None) -> None:
    if carried == installation_id:
        return
    what = "carries no installation id" if carried is None else "belongs to another installation"
    lost = "; if it was lost for good: caducee keys accept-vault" if store == "vault" else ""
    raise InstallationMismatch(f"the {store} {what}: is it mounted, and is this the right database?{lost}")


def new_log_origin() -> str:
    """A name for a log that no other has."""
    return f"caducee.log/{encode(os.urandom(16))}"


def _in_use(resources: Resources) -> bool:
    """Whether a store holds anything; one that carries no id yet cannot."""
    blobs, vault = resources.blobs, resources.vault
    return (vault.installation() is not None and any(True for _ in vault.names())) or (
        blobs.installation() is not None and any(True for _ in blobs.listing())
    )


def _take_into_use(resources: Resources) -> service_rows.ServiceState:
    """Give a fresh installation its id: blobs and vault first, so that a crash in between can be finished, and only
    if they are empty: a fresh database beside a used vault is a mistake, not a fresh install.
    """
    carried = {carried for store in (resources.blobs, resources.vault) if (carried := store.installation())}
    if len(carried) > 1 or _in_use(resources):
        raise InstallationMismatch(NEW_BESIDE_USED)
    installation_id = carried.pop() if carried else new_id()
    resources.blobs.adopt(installation_id)
    resources.vault.adopt(installation_id)
    now = resources.clock.now()
    if resources.vault.read_mark() is None:  # from here on, a vault without its mark has lost it
        boot = resources.clock.boot_time
        write_boot_time(resources.vault, boot)
        resources.vault.write_mark(HighWater(now, boot.anchor, 0, merkle.EMPTY_ROOT).to_text())
    state = service_rows.ServiceState(
        installation_id=installation_id,
        created_at=now,
        log_origin=new_log_origin(),
        time_mark=now,
    )
    with resources.database.writing() as transaction:
        existing = service_rows.find(transaction.connection)
        if existing is not None:  # another process was quicker
            return existing
        service_rows.create(transaction.connection, state)
        transaction.log(Entry(event=Event.LOG_STARTED, at=now, actor="system"))
    return state
