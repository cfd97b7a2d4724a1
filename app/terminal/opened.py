"""Open the service's stores for one command, as the service's user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.db.engine import Database
from app.db.read_only import ReadOnlyDatabase
from app.lifecycle.forged_entries import begin_record
from app.runtime.harden import harden_process
from app.runtime.installation import open_database_only, open_read_only, open_resources
from app.runtime.logs import set_up_logs
from app.runtime.resources import Resources
from app.runtime.separate_users import require_scheduler_user, umask_of
from app.runtime.settings import Settings


@contextmanager
def opened(*, in_use: bool = False, as_scheduler: bool = False) -> Iterator[Resources]:
    """Open the configured installation; close it afterwards. `in_use`: raise NoInstallation rather than create one.
    `as_scheduler`: raise WrongUser unless the scheduler's user runs this, where it has a user of its own.
    """
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process(umask_of(settings))
    if as_scheduler:
        require_scheduler_user(settings)
    if in_use:
        open_database_only(settings).close()
    resources = open_resources(settings)
    try:
        if as_scheduler:
            begin_record(resources)
        yield resources
    finally:
        resources.close()


@contextmanager
def opened_read_only() -> Iterator[Resources]:
    """Open the configured installation without changing it, as any user, even a copy or a read-only folder. Raises
    DatabaseUnavailable at the end if a service wrote to a read-only database meanwhile.
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
    harden_process(umask_of(settings))
    database = open_database_only(settings)
    try:
        yield database
    finally:
        database.close()
