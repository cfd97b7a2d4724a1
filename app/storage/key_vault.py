"""The key vault: the small store of shred keys whose destruction is what deletion means.

It is apart from database and blobs, and no backup holds it. No wrapped key of a transfer opens without its shred key,
and the vault itself refuses every entry past the expiry that the entry's own name carries: editing the database
extends nothing. Implementations: `vault_folder.py` (folders by hour), `vault_postgres.py`. Times are passed in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.crypto.wrapping import share_shred_label, shred_label
from app.domain.shred_key import ShredKeyName


def label_of(name: ShredKeyName) -> str:
    """Return what a wrapped shred key is bound to (AAD): ids and expiry, so that renaming an entry breaks it."""
    if name.share_id is None:
        return shred_label(name.transfer_id, name.expiry_unix)
    return share_shred_label(name.transfer_id, name.share_id, name.expiry_unix)


class Mark(StrEnum):
    """What a vault remembers beside its keys: how far the database has come, and the time of its own last purge."""

    HIGH_WATER = "high-water"
    PURGE_TIME = "purge-time"


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What one purge did and could not do.

    `removed` entries and `hours` ended hours were seen to go. `failed` names what resisted, and `due_left` counts
    what should be gone and was still there at a second look: only zero is a success.
    """

    removed: int
    hours: int
    failed: tuple[str, ...]
    due_left: int


class KeyVault(Protocol):
    """What every key vault does. VaultUnavailable may be raised by each method; "not there" is never guessed."""

    def create(self, name: ShredKeyName, shred_key: bytes) -> None:
        """Store a shred key (32 bytes); durable once it returns. Raises KeyExists, VaultUnavailable."""
        ...

    def open(self, name: ShredKeyName, now: datetime) -> bytes:
        """Return the shred key. Raises KeyExpired from the second of its expiry on, KeyGone, VaultUnavailable."""
        ...

    def destroy(self, names: Iterable[ShredKeyName]) -> None:
        """Remove these entries durably; absent ones are fine. Tries all, then raises VaultUnavailable if any stayed."""
        ...

    def holds(self, name: ShredKeyName) -> bool:
        """Look whether the entry is there, expired or not: the observation after a destruction."""
        ...

    def held(self, names: Iterable[ShredKeyName]) -> set[ShredKeyName]:
        """Look which of these are there; as `holds`, for many at once."""
        ...

    def purge(self, now: datetime) -> PurgeReport:
        """Remove every entry whose second has come and every hour that has ended; one that resists stops no other."""
        ...

    def names(self) -> Iterator[ShredKeyName]:
        """Stream the names of all entries, expired or not, in no order: for reconciliation."""
        ...

    def ended_hours(self, now: datetime) -> int:
        """Count the hours that have ended and are still there, with their key or without."""
        ...

    def destroy_everything(self) -> int:
        """Destroy all keys (lockdown); returns how many entries went. Tries all, then raises if any stayed."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing lies where the vault would be set up: a new volume, or none yet."""
        ...

    def installation(self) -> str | None:
        """Return the id of the installation that the vault belongs to; None when nobody adopted it yet."""
        ...

    def adopt(self, installation_id: str) -> None:
        """Set the vault up for this installation; raises VaultUnavailable when it belongs to another one."""
        ...

    def write_mark(self, text: str, mark: Mark = Mark.HIGH_WATER) -> None:
        """Replace a mark durably and atomically."""
        ...

    def read_mark(self, mark: Mark = Mark.HIGH_WATER) -> str | None:
        """Return a mark as it was written, None when there is none yet."""
        ...
