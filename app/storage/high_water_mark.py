"""The high-water mark as the vault keeps it: read and written by everything that needs the vault's memory."""

from __future__ import annotations

from app.domain.high_water import HighWater
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import KeyVault


def read_high_water(vault: KeyVault) -> HighWater | None:
    """The mark; None before the first. Raises VaultUnavailable when it cannot be read or understood."""
    text = vault.read_mark()
    try:
        return HighWater.from_text(text) if text is not None else None
    except ValueError:
        raise VaultUnavailable("the vault's high-water mark cannot be understood") from None
