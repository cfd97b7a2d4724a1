"""A transfer in a deletion batch, with its files, shares, claims and log entries."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from app.db import testimony_rows, transfer_rows, whole_transfers
from app.db.whole_transfers import WholeTransfer
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.testimony import FACTS, Testimony
from app.domain.transfer import OPEN_STATES, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.contradictions import names_to_look_for
from app.runtime.resources import Resources


@dataclass(slots=True)
class Case(WholeTransfer):
    """A transfer of the batch with its rows and log entries, and the outcome so far.

    `failure` is the failure code for the log. `waiting` with a failure means that a stream still reads a blob; without
    one, that the vault may not be listed yet.
    """

    failure: str | None = None
    waiting: bool = False
    told: Testimony = field(default_factory=Testimony)
    state: TransferState = field(init=False)
    ended_shares: list[str] = field(init=False)
    key_names: set[EntryName] = field(init=False)

    def __post_init__(self) -> None:
        """Derive the state and the keys to destroy: for an ended transfer all keys and claim records, for an open one
        the keys of its ended shares, under every expiry that the rows or the log name.
        """
        self.state = self.transfer.state
        self.ended_shares = [
            share.id for share in self.shares if share.state not in OPEN_SHARES and share.keys_destroyed_at is None
        ]
        if self.transfer.state not in OPEN_STATES:
            self.key_names = names_to_look_for(self, self.told)
        else:
            ended = frozenset(self.ended_shares)
            named = names_to_look_for(self, self.told) if ended else set[EntryName]()
            self.key_names = {name for name in named if name.share_id in ended and not name.claimed}

    @property
    def blob_ids(self) -> set[str]:
        """Ids of the blobs to delete: those in the rows, and those that the log records as deposited."""
        return {file.blob_id for file in self.files} | self.told.blobs

    @property
    def sizes(self) -> list[int]:
        """The plaintext size of each file in bytes, from the log; from the rows if the log names no file."""
        stored: list[object] = [file.size for file in self.files]  # SQLite accepts any type in any column
        return [file.size for file in self.told.files.values()] or [size for size in stored if isinstance(size, int)]

    @property
    def verified_now(self) -> bool:
        """Whether the deletion was verified in this batch, not in an earlier one."""
        return self.state == TransferState.VERIFIED != self.transfer.state


def load(resources: Resources, ids: list[str]) -> list[Case]:
    """Return the transfers with these ids. Raises ValueError or TypeError for rows that cannot be read."""
    with resources.database.reading() as connection:
        wholes = whole_transfers.load(connection, transfer_rows.find_all(connection, ids))
        told = testimony_rows.of_transfers(connection, ids, FACTS)
    return [
        Case(whole.transfer, whole.files, whole.shares, whole.claims, told=told[whole.transfer.id]) for whole in wholes
    ]


def load_again(connection: Connection, cases: list[Case]) -> dict[str, WholeTransfer]:
    """Read the same transfers again, with concurrent changes, and lock them until the transaction ends."""
    rows = transfer_rows.find_all(connection, [case.transfer.id for case in cases], for_update=True)
    return {whole.transfer.id: whole for whole in whole_transfers.load(connection, rows)}
