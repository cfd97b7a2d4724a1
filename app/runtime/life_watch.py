"""Whether the vault still holds the keys of what is being fetched: asked when a download opens, and while it runs.

Ciphertext needs no key to be sent, and a running download already has its own: so every way out asks the vault. The
streams of a process share one query a second, however many they are.
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
"""How long an answer serves the other streams. Below the second between two checks of one stream, so that each of its
checks sees an answer younger than its last one.
"""


def entries_of(share: ShareRow) -> frozenset[EntryName]:
    """Return the entries without which nothing of a share is sent: its transfer's and its own, under the row's expiry.

    Raises ClaimEnded for a row with ids or an expiry that no entry has.
    """
    try:
        of_transfer = EntryName(share.transfer_id, share.expires_at)
        return frozenset((of_transfer, EntryName(share.transfer_id, share.expires_at, share.id)))
    except ValueError:
        raise ClaimEnded from None


class LifeWatch:
    """The entries that the running downloads of one process depend on. Called from any thread."""

    def __init__(self, vault: KeyVault) -> None:
        """Ask `vault`, but not yet."""
        self._vault = vault
        self._lock = Lock()
        self._watched: Counter[EntryName] = Counter()
        self._living: set[EntryName] = set()
        self._failure: StorageError | None = None
        self._asked_at = float("-inf")

    def require_now(self, names: frozenset[EntryName]) -> None:
        """Ask for these entries at this moment. Raises ClaimEnded unless each is there with the key of its hour,
        VaultOutOfReach.
        """
        try:
            living = self._vault.living(names)
        except StorageError as error:
            raise VaultOutOfReach from error
        if not names <= living:
            raise ClaimEnded

    def add(self, names: frozenset[EntryName]) -> None:
        """Include these entries in the shared query from now on: a stream begins. They were just seen to be there."""
        with self._lock:
            self._watched.update(names)
            self._living |= names

    def remove(self, names: frozenset[EntryName]) -> None:
        """A stream that added these entries is over."""
        with self._lock:
            self._watched.subtract(names)
            self._watched += Counter()  # keeps what other streams watch

    def require(self, names: frozenset[EntryName]) -> None:
        """Judge by the last answer to the shared query, or by a new one for all streams once that is old; entries that
        no stream added are asked for alone. Raises ClaimEnded, VaultOutOfReach.
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
