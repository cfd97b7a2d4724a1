"""The vault's memory of the database: kept at every sweep, compared at every start.

The vault is in no backup, so a restored database is one that knows less than the vault remembers of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.db import audit_rows, service_rows
from app.domain.clock import RememberedTime
from app.domain.high_water import HighWater
from app.domain.purge_time import PurgeTime
from app.runtime.resources import Resources
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water, read_purge_time, write_purge_time

REMEMBERED_EACH = timedelta(minutes=1)


class DatabaseRolledBack(Exception):
    """The log in the database is shorter than, or differs from, what the vault remembers: `database_rolled_back`."""


class LogDamaged(DatabaseRolledBack):
    """Entries of the log are missing, with the tree's nodes above them: what the vault remembers cannot be found."""


class VaultRolledBack(Exception):
    """The key vault is older than the signer's folder remembers, or has lost its mark: `vault_rolled_back`."""


def require_vault_not_rolled_back(vault: KeyVault, signing: SigningFolder) -> None:
    """Raise VaultRolledBack if the vault knows less of the log than it did, or has no mark; VaultUnavailable when that
    cannot be told. An adopted vault has a mark from its first moment on.
    """
    mark, remembered = read_high_water(vault), _remembered_mark(signing)
    if mark is None:
        raise VaultRolledBack(
            "vault_rolled_back: the key vault has lost its high-water mark; "
            "if this is the right vault: caducee keys accept-vault"
        )
    if remembered is not None and mark.log_size < remembered.log_size:
        raise VaultRolledBack(
            f"vault_rolled_back: the key vault remembers {mark.log_size} entries of the log, and knew "
            f"{remembered.log_size} before; if an older copy was restored on purpose: caducee keys accept-vault"
        )


def remember_vault(vault: KeyVault, signing: SigningFolder, *, at_once: bool = False) -> None:
    """Have the signer's folder remember the vault's mark when the log has grown, each minute, or `at_once`: so an
    older vault shows once it lacks anything from before the last sweep. Raises VaultUnavailable.
    """
    mark, remembered = read_high_water(vault), _remembered_mark(signing)
    if mark is None:
        return
    if at_once or remembered is None or mark.log_size != remembered.log_size or _is_old(remembered, mark):
        signing.keep_vault_mark(mark.to_text())


def _is_old(remembered: HighWater, mark: HighWater) -> bool:
    return not timedelta(0) <= mark.at - remembered.at < REMEMBERED_EACH


def time_by_signer(signing: SigningFolder, boot_id: str) -> RememberedTime:
    """The time as the signer's folder remembers it from the vault. Raises VaultUnavailable when that is damaged."""
    mark = _remembered_mark(signing)
    return RememberedTime.of_marks(boot_id, None, [] if mark is None else [(mark.at, mark.anchor)])


def _remembered_mark(signing: SigningFolder) -> HighWater | None:
    text = signing.vault_mark()
    try:
        return HighWater.from_text(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable("what the signer's folder remembers of the vault cannot be understood") from None


def forget_purge_time(vault: KeyVault, now: datetime) -> None:
    """Lower the time of the last purge to `now`: an operator says that it was too late. Raises VaultUnavailable."""
    purged = read_purge_time(vault)
    if purged is not None and purged.at > now:
        write_purge_time(vault, PurgeTime(now, purged.anchor))


def require_not_rolled_back(resources: Resources) -> None:
    """Raise DatabaseRolledBack if the vault remembers more of the log than the database has, or something else."""
    remembered = read_high_water(resources.vault)
    if remembered is None:
        return
    with resources.database.reading() as connection:
        size = audit_rows.size(connection)
        if size < remembered.log_size:
            raise DatabaseRolledBack(
                f"database_rolled_back: the log has {size} entries, the vault remembers {remembered.log_size}; "
                "if a backup was restored on purpose: caducee db accept-restore"
            )
        if _root(connection, remembered.log_size) != remembered.log_root:
            raise DatabaseRolledBack(
                f"database_rolled_back: the log's first {remembered.log_size} entries are not those the vault "
                "remembers; if a backup was restored on purpose: caducee db accept-restore"
            )


def keep(resources: Resources, now: datetime) -> None:
    """Let the vault remember how far the log has come. Raises DatabaseRolledBack, VaultUnavailable."""
    require_not_rolled_back(resources)
    remembered = read_high_water(resources.vault)
    write(resources, now, origin=remembered.log_origin if remembered else None)


def write(resources: Resources, now: datetime, *, origin: str | None = None) -> None:
    """Write the mark whatever it was before: for a restored database that was accepted. `origin`: the one that the
    vault remembers goes on, whatever the database says; None takes the database's.
    """
    with resources.database.reading() as connection:
        size = audit_rows.size(connection)
        root = _root(connection, size)
        origin = origin or service_rows.get(connection).log_origin
    mark = HighWater(now, resources.clock.boot_time.anchor, size, root, origin)
    resources.vault.write_mark(mark.to_text())


def _root(connection: Connection, size: int) -> bytes:
    try:
        return audit_rows.root(connection, size)
    except KeyError:
        raise LogDamaged(
            f"log_damaged: of the log's first {size} entries some are missing, and their place in the tree too; "
            "caducee audit verify names them; bring back the database, or the last backup before that"
        ) from None
