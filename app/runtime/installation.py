"""Opening an installation: checks that its stores belong together, and initialises a new one.

Database, blobs and vault each carry the installation's id. A missing or different id stops the start: an unmounted
vault or a mistyped database URL must not be taken for a fresh installation.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path

from app.crypto import merkle
from app.crypto.encoding import encode
from app.crypto.token import new_id
from app.db import checkpoint_rows, service_rows
from app.db.engine import Database
from app.db.read_only import ReadOnlyDatabase
from app.db.schema import current_revision, require_current, require_this_schema
from app.domain.audit_events import Entry, Event
from app.domain.high_water import HighWater
from app.runtime.operator_name import operator_name
from app.runtime.resources import Resources, connect
from app.runtime.separate_users import WrongUser, prepare_folders
from app.runtime.settings import Settings
from app.runtime.stores import blob_store_of, key_vault_of
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water, write_boot_time

NEW_BESIDE_USED = (
    "the database is new, but blobs, vault or signing key are in use: is this the right database? "
    "To begin anew, choose another CADUCEE_DATA_DIR"
)


class InstallationMismatch(Exception):
    """Database, blobs, vault and signing key do not belong together, or one of them is missing."""


class NoInstallation(Exception):
    """There is no installation where the settings say; only `caducee serve` and `caducee db upgrade` create one."""


def open_resources(settings: Settings, *, create: bool = True, key_lost: bool = False) -> Resources:
    """Open the installation. With `create`, initialise a new one; without, raise NoInstallation and change nothing.
    `key_lost`: accept that the signing key is missing. Raises SchemaOutdated, InstallationMismatch or a store's error.
    """
    if not create:
        require_installation(settings, key_lost=key_lost)
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
    NoInstallation, DatabaseUnavailable, SchemaOutdated; a missing store raises its error when it is used.
    """
    _require_file(settings)
    database = ReadOnlyDatabase(settings.database_location)
    _require_in_use(database, settings)
    with database.reading() as connection:
        state = service_rows.get(connection)
    resources = connect(settings, database=database, installation_id=state.installation_id)
    resources.vault_time.refresh()
    return resources


def open_database_only(settings: Settings) -> Database:
    """Open only the database of an existing installation, for commands that must work when vault, blobs and clock do
    not. Nothing is created. Raises NoInstallation, SchemaOutdated, DatabaseUnavailable.
    """
    _require_file(settings)
    database = Database(settings.database_location)
    database.operator = operator_name
    try:
        _require_in_use(database, settings)
    except BaseException:
        database.close()
        raise
    return database


def require_installation(settings: Settings, *, key_lost: bool = False) -> None:
    """Raise NoInstallation unless the database holds one, and InstallationMismatch unless its stores are there. Changes
    nothing. `key_lost`: accept that the signing key is missing.
    """
    with closing(open_database_only(settings)) as database:
        with database.reading() as connection:
            state = service_rows.get(connection)
            signed = checkpoint_rows.last(connection)
        _require_stores(settings, state.installation_id)
    signing = SigningFolder(settings.signing_dir)
    if (
        settings.sign_log
        and signed
        and signed.note.startswith(f"{state.log_origin}\n")
        and not key_lost
        and signing.last_checkpoint() is None
    ):
        raise InstallationMismatch(
            f"the log was signed, but {settings.signing_dir} has no signing key: is it mounted, and is "
            "CADUCEE_KEYS_DIR right? If another host signs the log: CADUCEE_SIGN_LOG=0. "
            "If it was lost for good: caducee audit new-log --reason key_lost"
        )


def require_vault(settings: Settings) -> KeyVault:
    """Return the vault, for commands that need nothing else. Raises NoInstallation if its folder is missing or empty,
    VaultUnavailable.
    """
    vault = key_vault_of(settings)
    if vault.content() is None:
        variable = "CADUCEE_DATA_DIR" if settings.vault is None else "CADUCEE_VAULT"
        raise NoInstallation(
            f"there is no vault in {vault.place().name}: is it mounted, and is {variable} right? "
            "`caducee serve` and `caducee db upgrade` create an installation"
        )
    return vault


def holds_nothing(settings: Settings) -> bool:
    """Return whether the database is missing or empty, without creating it. Raises DatabaseUnavailable, WrongUser."""
    if settings.database_file is not None and not _has_content(settings.database_file):
        return True
    with closing(Database(settings.database_location)) as database:
        return current_revision(database) is None


def no_database(settings: Settings) -> str:
    """Return that there is none, which setting moves it, and how an installation is made."""
    variable = "CADUCEE_DATA_DIR" if settings.database_url is None else "CADUCEE_DATABASE_URL"
    value, source = settings.shown()[variable], settings.sources()[variable]
    return (
        f"there is no database {settings.database_file or 'in use there'}: is {variable} right? It is {value} "
        f"({source}). `caducee serve` and `caducee db upgrade` create an installation"
    )


def _require_file(settings: Settings) -> None:
    """Raise NoInstallation if the database is a file, and missing or empty: opening it would create it."""
    if settings.database_file is not None and not _has_content(settings.database_file):
        raise NoInstallation(no_database(settings))


def _has_content(file: Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size > 0
    except PermissionError:
        raise WrongUser(f"this user may not read {file}: run the command as the service's user, or with sudo") from None


def _require_in_use(database: Database, settings: Settings) -> None:
    if current_revision(database) is None:
        raise NoInstallation(no_database(settings))
    require_this_schema(database)
    with database.reading() as connection:
        if service_rows.find(connection) is None:
            raise NoInstallation(f"nobody has taken this database into use. {no_database(settings)}")


def _require_stores(settings: Settings, installation_id: str) -> None:
    """Raise InstallationMismatch unless blobs and vault carry this id."""
    blobs = blob_store_of(settings)
    _require_carries(installation_id, "blobs", blobs.installation(), blobs.place().name)
    with closing(key_vault_of(settings)) as vault:
        _require_carries(installation_id, "vault", vault.installation(), vault.place().name)


def require_vault_of(database: Database, vault: KeyVault) -> None:
    """Raise InstallationMismatch unless the vault carries the database's installation id; NoInstallation if the
    database has none. Blobs are not checked, and the database may have an older schema.
    """
    with database.reading() as connection:
        installation_id = service_rows.find_installation_id(connection)
    if installation_id is None:
        raise NoInstallation("nobody has taken this database into use")
    _require_carries(installation_id, "vault", vault.installation(), vault.place().name)


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
    if _is_new(resources.database) and _in_use(resources):  # a mistyped path or URL: create nothing there
        raise InstallationMismatch(NEW_BESIDE_USED)
    require_current(resources.database)
    with resources.database.reading() as connection:
        state = service_rows.find(connection)
    if state is None:
        state = _take_into_use(resources)
    _require_stores(resources.settings, state.installation_id)
    for store in (resources.blobs, resources.vault):
        store.adopt(
            state.installation_id
        )  # from here on, each store checks its id itself: it may be replaced at runtime
    resources.vault_time.refresh()


def require_same_installation(resources: Resources) -> None:
    """Raise InstallationMismatch unless database, blobs and vault carry the same id."""
    with resources.database.reading() as connection:
        installation_id = service_rows.get(connection).installation_id
    _require_carries(installation_id, "blobs", resources.blobs.installation(), resources.blobs.place().name)
    _require_carries(installation_id, "vault", resources.vault.installation(), resources.vault.place().name)


def _require_carries(installation_id: str, store: str, carried: str | None, place: object) -> None:
    if carried == installation_id:
        return
    what = "carries no installation id" if carried is None else "belongs to another installation"
    lost = "; if it was lost for good: caducee keys accept-vault" if store == "vault" else ""
    raise InstallationMismatch(
        f"the {store} {what}: is {place} mounted, is CADUCEE_{store.upper()} right, and is this the right database?"
        f"{lost}"
    )


def new_log_origin() -> str:
    """Return a unique log origin: `caducee.log/` and 16 random bytes in base64url."""
    return f"caducee.log/{encode(os.urandom(16))}"


def _is_new(database: Database) -> bool:
    file = database.file
    return (file is not None and not file.exists()) or current_revision(database) is None


def _in_use(resources: Resources) -> bool:
    """Return whether blobs or vault contain anything, or have had a log; a store without an id counts as empty."""
    blobs, vault = resources.blobs, resources.vault
    if SigningFolder(resources.settings.signing_dir).last_checkpoint() is not None:
        return True
    if vault.installation() is not None:
        mark = read_high_water(vault)
        if (mark is not None and mark.log_size) or any(True for _ in vault.names()):
            return True
    return blobs.installation() is not None and any(True for _ in blobs.listing())


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
