"""Open the service's stores for one command, as the service's user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from app.db.engine import Database
from app.db.read_only import ReadOnlyDatabase
from app.lifecycle.forged_entries import begin_record
from app.runtime.hand_over import hand_over, hand_over_for_database
from app.runtime.harden import harden_process
from app.runtime.installation import open_database_only, open_read_only, open_resources
from app.runtime.logs import set_up_logs
from app.runtime.resources import Resources
from app.runtime.separate_users import require_scheduler_user, umask_of
from app.runtime.settings import Settings


@contextmanager
def opened(*, create: bool = False, key_lost: bool = False, as_scheduler: bool = False) -> Iterator[Resources]:
    """Open the configured installation, as its owner where root runs this; close it afterwards.

    Raises NoInstallation where there is none, unless it may `create` one. `key_lost`: accept that the signing key is
    missing. `as_scheduler`: raise WrongUser unless the scheduler's user runs this, where it has a user of its own.
    """
    settings = Settings()
    set_up_logs(settings.log_format)
    hand_over(settings)
    harden_process(umask_of(settings))
    if as_scheduler:
        require_scheduler_user(settings)
    resources = open_resources(settings, create=create, key_lost=key_lost)
    try:
        if as_scheduler:
            begin_record(resources)
        yield resources
    finally:
        resources.close()


def settings_for_vault() -> Settings:
    """Return the settings for a command that needs only the vault: a wrong CADUCEE_DATABASE_URL does not delay the
    destruction of keys.
    """
    try:
        return Settings()
    except ValidationError:
        return Settings(database_url=None)


@contextmanager
def opened_read_only() -> Iterator[Resources]:
    """Open the configured installation without changing it, as any user, even a copy or a read-only folder. Root stays
    root, because nothing is written. Raises NoInstallation; at the end DatabaseUnavailable, if a service wrote to a
    read-only database meanwhile.
    """
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process(umask_of(settings))
    resources = open_read_only(settings)
    try:
        yield resources
        if isinstance(resources.database, ReadOnlyDatabase):
            resources.database.require_unchanged()
    finally:
        resources.close()


@contextmanager
def database_only() -> Iterator[Database]:
    """Open only the database, for emergency controls: vault and blobs may be gone. Creates nothing.
    Raises NoInstallation, SchemaOutdated, DatabaseUnavailable.
    """
    settings = Settings()
    set_up_logs(settings.log_format)
    hand_over_for_database(settings)
    harden_process(umask_of(settings))
    database = open_database_only(settings)
    try:
        yield database
    finally:
        database.close()
