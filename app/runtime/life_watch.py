"""Checks that the vault still has the keys of a download, when it opens and while it runs.

Sending ciphertext needs no key, and a running download already has its key, so every download checks the vault. All
streams of a process share one query per second.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from time import monotonic

from app.db.share_rows import ShareRow
from app.domain.errors import ClaimEnded, VaultOutOfReach
from app.domain.vault_entry import EntryName
from app.storage.errors import StorageError
from app.storage.key_vault import KeyVault

FRESH_SECONDS = 0.9
"""How long a query's result is reused for other streams. It is below `stream_watch.CHECK_SECONDS`, so that each check
of a stream uses a newer result than its previous check.
"""


def entries_of(share: ShareRow) -> frozenset[EntryName]:
    """Return the vault entries that a download requires: the transfer's and the share's, with the row's expiry.

    Raises ClaimEnded for a row whose ids or expiry are malformed.
    """
    try:
        of_transfer = EntryName(share.transfer_id, share.expires_at)
        return frozenset((of_transfer, EntryName(share.transfer_id, share.expires_at, share.id)))
    except ValueError:
        raise ClaimEnded from None


class LifeWatch:
    """The vault entries that the running downloads of one process depend on. Thread-safe."""

    def __init__(self, vault: KeyVault) -> None:
        """Start without streams; nothing is queried."""
        self._vault = vault
        self._lock = Lock()
        self._watched: Counter[EntryName] = Counter()
        self._living: set[EntryName] = set()
        self._failure: StorageError | None = None
        self._asked_at = float("-inf")

    def require_now(self, names: frozenset[EntryName]) -> None:
        """Query the vault for these entries now. Raises ClaimEnded unless each exists together with its hour key,
        VaultOutOfReach.
        """
        try:
            living = self._vault.living(names)
        except StorageError as error:
            raise VaultOutOfReach from error
        if not names <= living:
            raise ClaimEnded

    def add(self, names: frozenset[EntryName]) -> None:
        """Add a new stream's entries to the shared query. The caller has just checked or opened them."""
        with self._lock:
            self._watched.update(names)
            self._living |= names

    def remove(self, names: frozenset[EntryName]) -> None:
        """Remove the entries of a stream that ended."""
        with self._lock:
            self._watched.subtract(names)
            self._watched += Counter()  # keeps what other streams watch

    def require(self, names: frozenset[EntryName]) -> None:
        """Check these entries against the shared query's result, which is refreshed after FRESH_SECONDS; entries that
        no stream added are queried separately. Raises ClaimEnded, VaultOutOfReach.
        """
        with self._lock:
            shared = names <= self._watched.keys()
            if shared and monotonic() - self._asked_at >= FRESH_SECONDS:
                self._ask()
            living, failure = names <= self._living, self._failure
        if not shared:
            self.require_now(names)
        elif failure is not None:
            raise VaultOutOfReach from failure
        elif not living:
            raise ClaimEnded

    def _ask(self) -> None:
        self._failure = None
        try:
            self._living = self._vault.living(self._watched)
        except StorageError as error:
            self._failure = error
        self._asked_at = monotonic()
