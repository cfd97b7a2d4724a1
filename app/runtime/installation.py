"""Opening an installation: checks that its stores belong together, and initialises a new one.

Database, blobs and vault each carry the installation's id. A missing or different id stops the start: an unmounted
vault or a mistyped database URL must not be taken for a fresh installation.
"""

from __future__ import annotations

import os
from contextlib import suppress

from app.crypto import merkle
from app.crypto.encoding import encode
from app.crypto.token import new_id
from app.db import service_rows
from app.db.engine import Database
from app.db.read_only import ReadOnlyDatabase
from app.db.schema import require_current, require_this_schema
from app.domain.audit_events import Entry, Event
from app.domain.high_water import HighWater
from app.runtime.operator_name import operator_name
from app.runtime.resources import Resources, connect
from app.runtime.separate_users import prepare_folders
from app.runtime.settings import Settings
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.storage.vault_marks import write_boot_time

NEW_BESIDE_USED = "the database is new, but blobs or vault are in use: is this the right database?"


class InstallationMismatch(Exception):
    """Database, blobs and vault do not carry the same installation id."""


class NoInstallation(Exception):
    """The configured database does not exist; only `caducee serve` and `caducee db upgrade` create one."""


def open_resources(settings: Settings) -> Resources:
    """Open the installation; initialise a new one. Raises SchemaOutdated, InstallationMismatch or a store's error."""
    resources = connect(settings)
    prepare_folders(settings)
    try:
        _open_stores(resources)
    except BaseException:
        resources.close()
        raise
    return resources


def open_read_only(settings: Settings) -> Resources:
    """Open the installation read-only: nothing is written, created or adopted, whichever user runs this. Raises
    DatabaseUnavailable, SchemaOutdated, InstallationMismatch; a missing store raises its error when it is used.
    """
    database = ReadOnlyDatabase(settings.database_location)
    require_this_schema(database)
    with database.reading() as connection:
        state = service_rows.find(connection)
    if state is None:
        raise InstallationMismatch("nobody has taken this database into use")
    resources = connect(settings, database=database, installation_id=state.installation_id)
    resources.vault_time.refresh()
    return resources


def open_database_only(settings: Settings) -> Database:
    """Open only the database of an existing installation, for commands that must work when vault, blobs and clock do
    not. Nothing is created. Raises NoInstallation, SchemaOutdated, DatabaseUnavailable.
    """
    database = Database(settings.database_location)
    database.operator = operator_name
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
    """Raise InstallationMismatch unless the vault carries the database's installation id; NoInstallation if the
    database has none. Blobs are not checked, and the database may have an older schema.
    """
    with database.reading() as connection:
        installation_id = service_rows.find_installation_id(connection)
    if installation_id is None:
        raise NoInstallation("nobody has taken this database into use")
    _require_carries(installation_id, "vault", vault.installation())


def require_vault_not_foreign(database: Database, vault: KeyVault) -> None:
    """Raise InstallationMismatch if the vault carries another installation's id than the database. A vault that is
    unreadable or carries no id passes: it may be unmounted. Blobs are not checked.
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
    if file is not None and not file.exists() and _in_use(resources):  # a mistyped path: do not create the file
        raise InstallationMismatch(NEW_BESIDE_USED)
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    if state is None:
        state = _take_into_use(resources)
    require_same_installation(resources)
    for store in (resources.blobs, resources.vault):
        store.adopt(
            state.installation_id
        )  # from here on, each store checks its id itself: it may be replaced at runtime
    resources.vault_time.refresh()


def require_same_installation(resources: Resources) -> None:
    """Raise InstallationMismatch unless database, blobs and vault carry the same id."""
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
    """Return a unique log origin: `caducee.log/` and 16 random bytes in base64url."""
    return f"caducee.log/{encode(os.urandom(16))}"


def _in_use(resources: Resources) -> bool:
    """Return whether blobs or vault contain anything; a store without an id counts as empty."""
    blobs, vault = resources.blobs, resources.vault
    return (vault.installation() is not None and any(True for _ in vault.names())) or (
        blobs.installation() is not None and any(True for _ in blobs.listing())
    )


def _take_into_use(resources: Resources) -> service_rows.ServiceState:
    """Initialise a new installation: blobs and vault get the id first, so that a crash in between can be resumed.
    Raises InstallationMismatch unless they are empty: a new database with a used vault is a configuration error.
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
        if existing is not None:  # another process was faster
            return existing
        service_rows.create(transaction.connection, state)
        transaction.log(Entry(event=Event.LOG_STARTED, at=now, actor="system"))
    return state
