"""The interface of the key vault, the small store of shred keys. Destroying its keys is what deletes a transfer.

It is separate from database and blobs, and excluded from backups. A transfer's wrapped keys cannot be unwrapped without
its shred key. The vault refuses each entry from the expiry in the entry's own name on, so a change to the database
cannot extend a lifetime. Implementations: `vault_folder.py` (folders by hour), `vault_postgres.py` (an instance of
PostgreSQL). Times are passed in.
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
    """Return the AAD of a wrapped shred key: its ids and expiry, so that a renamed entry does not decrypt.

    Raises ValueError for a claim record, which contains no key.
    """
    if name.claimed:
        raise ValueError("a claim record contains no key")
    if name.share_id is None:
        return shred_label(name.transfer_id, name.expiry_unix)
    return share_shred_label(name.transfer_id, name.share_id, name.expiry_unix)


class Mark(StrEnum):
    """The marks that a vault stores besides keys: the database's high-water mark, the time of the vault's last purge,
    and the result of the last reconciliation.
    """

    HIGH_WATER = "high-water"
    PURGE_TIME = "purge-time"
    RECONCILED = "reconciled"


_MARKS = frozenset(mark.value for mark in Mark)
_ANCHOR = re.compile(r"anchor\.[0-9a-z-]{1,64}", re.ASCII)


def anchor_mark(boot_id: str) -> str:
    """Return the name of the mark with the record of one boot of one host. Raises ValueError for a malformed id."""
    mark = f"anchor.{boot_id}"
    if not is_mark(mark):
        raise ValueError("a boot id consists of lower-case letters, digits and dashes, at most 64")
    return mark


def is_mark(name: str) -> bool:
    """Return whether this is the name of a mark."""
    return name in _MARKS or _ANCHOR.fullmatch(name) is not None


@dataclass(slots=True)
class FoundEntries:
    """Result of a search for transfers: their entries, and the ids of those (`misplaced`) that are named by a file
    that is not a valid entry, such as one in the wrong hour.
    """

    names: set[EntryName] = field(default_factory=set)
    misplaced: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """Result of a purge.

    `removed` entries and `hours` ended hours were observed to be gone. `failed` names the files that could not be
    removed. `due_left` counts the due files that a check afterwards still found: only zero is a success.
    """

    removed: int
    hours: int
    failed: tuple[str, ...]
    due_left: int


class KeyVault(Protocol):
    """The interface of every key vault. Each method may raise VaultUnavailable; an error never counts as absence."""

    def create(self, name: EntryName, shred_key: bytes) -> None:
        """Durably store a shred key (32 bytes). Raises KeyExists, VaultUnavailable."""
        ...

    def open(self, name: EntryName, now: datetime) -> bytes:
        """Return the shred key. Raises KeyExpired from the second of its expiry on, KeyGone, VaultUnavailable."""
        ...

    def destroy(self, names: Iterable[EntryName]) -> None:
        """Durably remove these entries, if present. Tries all of them, then raises VaultUnavailable if any is left."""
        ...

    def record_claim(self, name: EntryName, token_digest: bytes) -> bytes:
        """Durably record the claim of a share (`name.claimed`), unless one is recorded. Of concurrent callers in any
        process, only one is the first. Return the token digest (32 bytes) that is recorded.

        Raises KeyGone if the hour of the share's key is gone, VaultUnavailable.
        """
        ...

    def claim_recorded(self, name: EntryName) -> bytes | None:
        """Return the recorded token digest (32 bytes), or None if no claim of the share is recorded."""
        ...

    def living(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Return those of the entries that exist together with the key of their hour, so that they can be opened."""
        ...

    def find(self, transfer_ids: AbstractSet[str]) -> FoundEntries:
        """Search every hour for any file of these transfers. A transfer's keys are gone if this finds nothing."""
        ...

    def ending_by(self, moment: datetime) -> Iterator[EntryName]:
        """Yield the existing entries that expire at or before `moment`."""
        ...

    def strangers(self) -> Iterator[str]:
        """Yield the places of unrecognised files. A vault that was not tampered with has none."""
        ...

    def holds(self, name: EntryName) -> bool:
        """Return whether the entry exists, expired or not, to verify a destruction."""
        ...

    def held(self, names: Iterable[EntryName]) -> set[EntryName]:
        """Return those of the entries that exist, expired or not."""
        ...

    def purge(self, now: datetime) -> PurgeReport:
        """Remove every expired entry and every ended hour. A failure does not prevent the removal of others."""
        ...

    def names(self) -> Iterator[EntryName]:
        """Yield the names of all entries, expired or not, in no order."""
        ...

    def ended_hours(self, now: datetime) -> int:
        """Count the ended hours that still exist, with or without their key."""
        ...

    def destroy_everything(self) -> int:
        """Destroy all keys. Return how many entries were removed. Tries all, then raises if any is left."""
        ...

    def has_room(self) -> bool:
        """Return whether new entries fit, beside what marks and the records of claims need. Raises VaultUnavailable."""
        ...

    def recognises(self, file_name: str) -> bool:
        """Return whether a file of this name may belong to a copy of this vault, which no backup may contain; also a
        temporary file that a crash left. Reads nothing. A vault whose copies are not files returns False.
        """
        ...

    def place(self) -> Place:
        """Return the location of the vault, even if it does not exist yet."""
        ...

    def configuration_problems(self) -> list[str]:
        """Return what about the vault's configuration would let a destroyed key live on, each with what is right."""
        ...

    def close(self) -> None:
        """Close connections. The vault may be used again."""
        ...

    def content(self) -> str | None:
        """Return the name of something in the vault's location, None if that is empty or missing."""
        ...

    def installation(self) -> str | None:
        """Return the id of the installation that the vault belongs to, or None if it was never adopted."""
        ...

    def adopt(self, installation_id: str) -> None:
        """Set up the vault for this installation. Raises VaultUnavailable if it belongs to another one."""
        ...

    def write_mark(self, text: str, mark: str = Mark.HIGH_WATER) -> None:
        """Durably and atomically replace a mark. Raises ValueError for a name that fails `is_mark`."""
        ...

    def exchange_mark(self, before: str, after: str, mark: str = Mark.HIGH_WATER) -> bool:
        """Durably and atomically replace a mark if its text is still `before`. Return whether it was. In a folder, the
        caller excludes other writers of its host.
        """
        ...

    def read_mark(self, mark: str = Mark.HIGH_WATER) -> str | None:
        """Return the text of a mark, or None if it was never written."""
        ...
