"""Detect a rollback of the database or vault, by high-water marks written at every sweep and checked at every start.

The vault is in no backup, so a restored database has a shorter log than the vault's mark.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.db import audit_size, audit_tree, service_rows
from app.domain.clock import BELIEVED, RememberedTime
from app.domain.high_water import HighWater
from app.domain.purge_time import PurgeTime
from app.runtime.resources import Resources
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water, read_purge_time, write_purge_time

REMEMBERED_EACH = timedelta(minutes=1)
KEEP_ATTEMPTS = 20
"""Each lost attempt is another scheduler's success."""


class DatabaseRolledBack(Exception):
    """The database's log is shorter than the vault's mark, or differs from it: `database_rolled_back`."""


class LogDamaged(DatabaseRolledBack):
    """Log entries and the tree nodes above them are missing, so the root in the vault's mark cannot be recomputed."""


class VaultRolledBack(Exception):
    """The key vault is older than the signer's folder remembers, or has lost its mark: `vault_rolled_back`."""


def require_vault_not_rolled_back(vault: KeyVault, signing: SigningFolder) -> None:
    """Raise VaultRolledBack if the vault's mark is missing or older than the signer's folder remembers;
    VaultUnavailable if that cannot be determined. An adopted vault always has a mark.
    """
    remembered = _remembered_mark(signing)  # read first: the mark may grow meanwhile
    mark = read_high_water(vault)
    if mark is None:
        raise VaultRolledBack(
            "vault_rolled_back: the key vault has lost its high-water mark; "
            "if this is the right vault: caducee keys accept-vault"
        )
    if remembered is not None and mark.log_size < remembered.log_size:
        raise VaultRolledBack(
            f"vault_rolled_back: the key vault's mark covers {mark.log_size} log entries, but covered "
            f"{remembered.log_size} before; if an older copy was restored on purpose: caducee keys accept-vault"
        )


def remember_vault(vault: KeyVault, signing: SigningFolder, *, at_once: bool = False) -> None:
    """Copy the vault's mark to the signer's folder when the log has grown, every minute, or `at_once`. This reveals a
    restored vault that lacks anything from before the last sweep. Raises VaultUnavailable, SigningUnavailable.
    """
    with signing.locked():
        mark, remembered = read_high_water(vault), _remembered_mark(signing)
        if mark is None:
            return
        if at_once or remembered is None or mark.log_size != remembered.log_size or _is_old(remembered, mark):
            signing.keep_vault_mark(mark.to_text())


def _is_old(remembered: HighWater, mark: HighWater) -> bool:
    return not timedelta(0) <= mark.at - remembered.at < REMEMBERED_EACH


def time_by_signer(signing: SigningFolder, boot_id: str) -> RememberedTime:
    """Return the time of the vault's mark in the signer's folder. Raises VaultUnavailable if that mark is damaged."""
    mark = _remembered_mark(signing)
    return RememberedTime.of_marks(boot_id, None, [] if mark is None else [(mark.at, mark.anchor)])


def _remembered_mark(signing: SigningFolder) -> HighWater | None:
    text = signing.vault_mark()
    try:
        return HighWater.from_text(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable("the signer's copy of the vault's mark cannot be understood") from None


def forget_purge_time(vault: KeyVault, now: datetime) -> None:
    """Lower the time of the last purge to `now`, when an operator declares it too late. Raises VaultUnavailable."""
    purged = read_purge_time(vault)
    if purged is not None and purged.at > now:
        write_purge_time(vault, PurgeTime(now, purged.anchor))


def require_not_rolled_back(resources: Resources) -> None:
    """Raise DatabaseRolledBack if the database's log is shorter than the vault's mark or has another root."""
    remembered = read_high_water(resources.vault)
    if remembered is None:
        return
    with resources.database.reading() as connection:
        size = audit_size.size(connection)
        if size < remembered.log_size:
            raise DatabaseRolledBack(
                f"database_rolled_back: the log has {size} entries, the vault's mark covers {remembered.log_size}; "
                "if a backup was restored on purpose: caducee db accept-restore"
            )
        if _root(connection, remembered.log_size) != remembered.log_root:
            raise DatabaseRolledBack(
                f"database_rolled_back: the log's first {remembered.log_size} entries are not those in the vault's "
                "mark; if a backup was restored on purpose: caducee db accept-restore"
            )


def keep(resources: Resources, now: datetime) -> None:
    """Write the log's size and root to the vault's mark, which never covers less of the log than before. Raises
    DatabaseRolledBack, VaultUnavailable, SigningUnavailable.

    Schedulers of one host take turns. One of another host may replace the mark at any moment; then this reads it again.
    """
    with SigningFolder(resources.settings.signing_dir).locked():
        for _ in range(KEEP_ATTEMPTS):
            before = resources.vault.read_mark()
            remembered = read_high_water(resources.vault)
            require_not_rolled_back(resources)
            if before is None or remembered is None:
                resources.vault.write_mark(_mark(resources, now).to_text())
                return
            mark = _mark(resources, _not_before(remembered.at, now), origin=remembered.log_origin)
            if resources.vault.exchange_mark(before, mark.to_text()):
                return
    raise VaultUnavailable("other schedulers kept replacing the vault's mark")


def _not_before(marked: datetime, now: datetime) -> datetime:
    """Return the time for the mark. A scheduler of another host, whose clock is trusted too, may be ahead."""
    return max(marked, now) if marked - now <= BELIEVED else now


def write(resources: Resources, now: datetime) -> None:
    """Write the mark without comparing it to the previous one, as accepting a restored database requires. Raises
    VaultUnavailable, SigningUnavailable.
    """
    with SigningFolder(resources.settings.signing_dir).locked():
        resources.vault.write_mark(_mark(resources, now).to_text())


def _mark(resources: Resources, at: datetime, *, origin: str | None = None) -> HighWater:
    """Return a mark of the log as it is now. `origin` is the log origin to keep, whatever the database has; None uses
    the database's.
    """
    with resources.database.reading() as connection:
        size = audit_size.size(connection)
        root = _root(connection, size)
        origin = origin or service_rows.get(connection).log_origin
    return HighWater(at, resources.clock.boot_time.anchor, size, root, origin)


def _root(connection: Connection, size: int) -> bytes:
    try:
        return audit_tree.root(connection, size)
    except KeyError:
        raise LogDamaged(
            f"log_damaged: some of the log's first {size} entries are missing, and so are the tree nodes above them; "
            "caducee audit verify reports them; restore the database, or the last backup before the damage"
        ) from None
