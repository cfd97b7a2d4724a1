"""A process's clock, kept in step with what the key vault remembers of the time (app/domain/clock.py)."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from app.runtime.clock import Clock
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault
from app.storage.vault_marks import read_time

REFRESH_SECONDS = 1.0


class VaultTime:
    """What a process that serves requests knows of the vault's marks, read anew each second at most."""

    def __init__(self, vault: KeyVault, clock: Clock) -> None:
        """Read nothing yet."""
        self._vault, self._clock = vault, clock
        self._read_at: float | None = None
        self.marked = True

    def refresh(self) -> None:
        """Take over an anchor that was set since, and note whether the vault has its mark.

        A vault that cannot be read changes nothing here: the count goes on, and whatever needs the vault refuses.
        """
        if self._read_at is not None and monotonic() - self._read_at < REFRESH_SECONDS:
            return
        self._read_at = monotonic()
        with suppress(StorageError):
            remembered = read_time(self._vault, self._clock.boot_id)
            if remembered.knows_anything:  # else the scheduler's process still has the signer's folder to go by
                self._clock.observe(remembered)
            self.marked = self._vault.read_mark() is not None
