"""Typed access to the vault's marks: the high-water mark, the last purge, the record of each boot, reconciliation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from app.domain.clock import BootTime, RememberedTime
from app.domain.high_water import HighWater
from app.domain.purge_time import PurgeTime
from app.domain.reconciled import ReconciliationResult
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault, Mark, anchor_mark

T = TypeVar("T")


def read_high_water(vault: KeyVault) -> HighWater | None:
    """Return the high-water mark, or None if it was never written. Raises VaultUnavailable, also if it is malformed."""
    return _read(vault, Mark.HIGH_WATER, HighWater.from_text)


def read_purge_time(vault: KeyVault) -> PurgeTime | None:
    """Return the time of the last purge; None before the first. Raises VaultUnavailable, also if it is malformed."""
    return _read(vault, Mark.PURGE_TIME, PurgeTime.from_text)


def write_purge_time(vault: KeyVault, time: PurgeTime) -> None:
    """Store the time of a purge. Raises VaultUnavailable."""
    vault.write_mark(time.to_text(), Mark.PURGE_TIME)


def read_boot_time(vault: KeyVault, boot_id: str) -> BootTime | None:
    """Return the record of a boot; None before its first anchor. Raises VaultUnavailable, also if it is malformed."""
    boot = _read(vault, anchor_mark(boot_id), BootTime.from_text)
    if boot is not None and boot.boot_id != boot_id:
        raise VaultUnavailable("the vault's anchor belongs to another boot")
    return boot


def write_boot_time(vault: KeyVault, boot: BootTime) -> None:
    """Store the record of a boot. Raises VaultUnavailable."""
    vault.write_mark(boot.to_text(), anchor_mark(boot.boot_id))


def read_time(
    vault: KeyVault, boot_id: str, *, unreadable: Callable[[VaultUnavailable], None] | None = None
) -> RememberedTime:
    """Return the time stored in all readable marks; `unreadable` is called for the error of each other mark.

    Raises VaultUnavailable if a mark cannot be read and no other exists: only the host's clock would be left.
    """
    failures: list[VaultUnavailable] = []

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except VaultUnavailable as error:
            failures.append(error)
            if unreadable is not None:
                unreadable(error)
            return None

    boot = attempt(lambda: read_boot_time(vault, boot_id))
    high_water = attempt(lambda: read_high_water(vault))
    purged = attempt(lambda: read_purge_time(vault))
    marks = [(mark.at, mark.anchor) for mark in (high_water, purged) if mark is not None]
    if failures and boot is None and not marks:
        raise failures[0]
    return RememberedTime.of_marks(boot_id, boot, marks)


def read_reconciled(vault: KeyVault) -> ReconciliationResult | None:
    """Return the result of the last reconciliation, or None before the first. Raises VaultUnavailable."""
    return _read(vault, Mark.RECONCILED, ReconciliationResult.from_text)


def write_reconciled(vault: KeyVault, found: ReconciliationResult) -> None:
    """Store the result of a reconciliation. Raises VaultUnavailable."""
    vault.write_mark(found.to_text(), Mark.RECONCILED)


def _read(vault: KeyVault, mark: str, parse: Callable[[str], T]) -> T | None:
    text = vault.read_mark(mark)
    try:
        return parse(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable(f"the vault's mark {mark} cannot be understood") from None
