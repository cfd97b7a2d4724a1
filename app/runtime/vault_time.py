"""Keeps a process's clock in step with the time stored in the key vault (app/domain/clock.py)."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from app.runtime.clock import Clock
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.storage.vault_marks import read_time

REFRESH_SECONDS = 1.0


class VaultTime:
    """The vault's marks as last read by a serving process, at most once per second."""

    def __init__(self, vault: KeyVault, clock: Clock) -> None:
        """Store the arguments; the vault is not read."""
        self._vault, self._clock = vault, clock
        self._read_at: float | None = None
        self.marked = True

    def refresh(self) -> None:
        """Apply an anchor stored since the last call, and note whether the vault has its mark.

        If the vault cannot be read, nothing changes: the clock runs on, and requests that need the vault are refused.
        """
        if self._read_at is not None and monotonic() - self._read_at < REFRESH_SECONDS:
            return
        self._read_at = monotonic()
        with suppress(StorageError):
            remembered = read_time(self._vault, self._clock.boot_id)
            if remembered.knows_anything:  # otherwise the scheduler's process still reads the signing folder
                self._clock.observe(remembered)
            self.marked = self._vault.read_mark() is not None
