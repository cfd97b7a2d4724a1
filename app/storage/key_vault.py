"""The key vault: the small store of shred keys whose destruction is what deletion means.

It is apart from database and blobs, and no backup holds it. No wrapped key of a transfer opens without its shred key,
and the vault itself refuses every entry past the expiry that the entry's own name carries: editing the database
extends nothing. Implementation: `vault_folder.py` (folders by hour). Times are passed in.
"""

import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.crypto.wrapping import share_shred_label, shred_label
from app.domain.vault_entry import EntryName
from app.storage.place import Place


def label_of(name: EntryName) -> str:
    """Return what a wrapped shred key is bound to (AAD): ids and expiry, so that renaming an entry breaks it.

    Raises ValueError for the record of a claim, which holds no key.
    """
    if name.claimed:
        raise ValueError("the record of a claim holds no key")
    if name.share_id is None:
        return shred_label(name.transfer_id, name.expiry_unix)
    return share_shred_label(name.transfer_id, name.share_id, name.expiry_unix)


class Mark(StrEnum):
    """What a vault remembers beside its keys: how far the database has come, the time of its own last purge, and what
    the last reconciliation found.
    """

    HIGH_WATER = "high-water"
    PURGE_TIME = "purge-time"
    RECONCILED = "reconciled"


_MARKS = frozenset(mark.value for mark in Mark)
_ANCHOR = re.compile(r"anchor\.[0-9a-z-]{1,64}", re.ASCII)


def anchor_mark(boot_id: str) -> str:
    """Return the name of the mark that keeps the time of one boot of one host. Raises ValueError for an unfit id."""
    mark = f"anchor.{boot_id}"
    if not is_mark(mark):
        raise ValueError("a boot id is made of lower-case letters, digits and dashes, 64 at most")
    return mark


def is_mark(name: str) -> bool:
    """Tell whether this is the name of a mark."""
    return name in _MARKS or _ANCHOR.fullmatch(name) is not None


@dataclass(slots=True)
class FoundEntries:
    """What a listing found of some transfers: their entries, and the ids of those that a file names which is no entry
    (moved to a wrong hour, say).
    """

    names: set[EntryName] = field(default_factory=set)
    misplaced: set[str] = field(default_factory=set)


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

    def create(self, name: EntryName, shred_key: bytes) -> None:
        """Store a shred key (32 bytes); durable once it returns. Raises KeyExists, VaultUnavailable."""
        ...

    def open(self, name: EntryName, now: datetime) -> bytes:
        """Return the shred key. Raises KeyExpired from the second of its expiry on, KeyGone, VaultUnavailable."""
        ...

    def destroy(self, names: Iterable[EntryName]) -> None:
        """Remove these entries durably; absent ones are fine. Tries all, then raises VaultUnavailable if any stayed."""
        ...

    def record_claim(self, name: EntryName, token_digest: bytes) -> bytes:
        """Record the claim of a share (`name.claimed`) unless it was recorded before: of any number of callers, in any
        process, one is the first. Durable once it returns. Returns the token digest (32 bytes) that is recorded now.

        Raises KeyGone when the hour of the share's key is gone, VaultUnavailable.
        """
        ...

    def claim_recorded(self, name: EntryName) -> bytes | None:
        """Return the token digest (32 bytes) that is recorded under `name`, None when the share was not claimed."""
        ...

    def living(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Look which of these are there together with the key of their hour, so that they could be opened."""
        ...

    def find(self, transfer_ids: AbstractSet[str]) -> FoundEntries:
        """Look through every hour for anything of these transfers: "gone" means that this finds nothing."""
        ...

    def ending_by(self, moment: datetime) -> Iterator[EntryName]:
        """Stream the entries whose second comes at `moment` or before, as far as they are still there."""
        ...

    def strangers(self) -> Iterator[str]:
        """Stream the places of files that are not understood: in a vault that nobody tampered with there are none."""
        ...

    def holds(self, name: EntryName) -> bool:
        """Look whether the entry is there, expired or not: the observation after a destruction."""
        ...

    def held(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Look which of these are there; as `holds`, for many at once."""
        ...

    def purge(self, now: datetime) -> PurgeReport:
        """Remove every entry whose second has come and every hour that has ended; one that resists stops no other."""
        ...

    def names(self) -> Iterator[EntryName]:
        """Stream the names of all entries, expired or not, in no order: for reconciliation."""
        ...

    def ended_hours(self, now: datetime) -> int:
        """Count the hours that have ended and are still there, with their key or without."""
        ...

    def destroy_everything(self) -> int:
        """Destroy all keys (lockdown); returns how many entries went. Tries all, then raises if any stayed."""
        ...

    def has_room(self) -> bool:
        """Return whether new entries fit, beside what marks and the records of claims need. Raises VaultUnavailable."""
        ...

    def place(self) -> Place:
        """Describe where the vault lies, or would be set up."""
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

    def write_mark(self, text: str, mark: str = Mark.HIGH_WATER) -> None:
        """Replace a mark durably and atomically. Raises ValueError for a name that is no mark's (`is_mark`)."""
        ...

    def read_mark(self, mark: str = Mark.HIGH_WATER) -> str | None:
        """Return a mark as it was written, None when there is none yet."""
        ...
