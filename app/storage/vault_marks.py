"""What the vault remembers of the time: the high-water mark, and the time of the last purge where no sweeper runs."""

from __future__ import annotations

from app.domain.high_water import HighWater
from app.domain.purge_time import PurgeTime
from app.domain.reconciled import Reconciled
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault, Mark


def read_high_water(vault: KeyVault) -> HighWater | None:
    """The mark; None before the first. Raises VaultUnavailable when it cannot be read or understood."""
    text = vault.read_mark()
    try:
        return HighWater.from_text(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable("the vault's high-water mark cannot be understood") from None


def read_purge_time(vault: KeyVault) -> PurgeTime | None:
    """What the purge kept; None before the first. Raises VaultUnavailable when it cannot be read or understood."""
    text = vault.read_mark(Mark.PURGE_TIME)
    try:
        return PurgeTime.from_text(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable("the vault's time of the last purge cannot be understood") from None


def write_purge_time(vault: KeyVault, time: PurgeTime) -> None:
    """Keep it for the next purge. Raises VaultUnavailable."""
    vault.write_mark(time.to_text(), Mark.PURGE_TIME)


def read_reconciled(vault: KeyVault) -> Reconciled | None:
    """Return what the last reconciliation found; None before the first. Raises VaultUnavailable."""
    text = vault.read_mark(Mark.RECONCILED)
    try:
        return Reconciled.from_text(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable("the vault's mark of the last reconciliation cannot be understood") from None


def write_reconciled(vault: KeyVault, found: Reconciled) -> None:
    """Keep what a reconciliation found. Raises VaultUnavailable."""
    vault.write_mark(found.to_text(), Mark.RECONCILED)
