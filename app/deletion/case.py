"""A transfer of a batch that the sweeper works on, with all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from app.db import transfer_rows, whole_transfers
from app.db.whole_transfers import WholeTransfer
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.transfer import OPEN_STATES, TransferState
from app.domain.vault_entry import EntryName
from app.resources import Resources


@dataclass(slots=True)
class Case(WholeTransfer):
    """A transfer of the batch with all that belongs to it, and what went wrong with it, if anything did: `failure` is
    the word for it in the log; `waiting`, that it is but a stream which still reads a blob.
    """

    failure: str | None = None
    waiting: bool = False
    state: TransferState = field(init=False)
    key_names: list[EntryName] = field(init=False)

    def __post_init__(self) -> None:
        """How far it is, and the keys to be gone: all of a transfer that has ended, with the records of its claims;
        those of ended shares of one that has not.
        """
        self.state = self.transfer.state
        self.key_names = names = [
            EntryName(self.transfer.id, share.expires_at, share.id)
            for share in self.shares
            if share.state not in OPEN_SHARES and share.keys_destroyed_at is None
        ]
        if self.transfer.state not in OPEN_STATES:
            names.append(EntryName(self.transfer.id, self.transfer.expires_at))
            names += [EntryName(self.transfer.id, share.expires_at, share.id).of_claim for share in self.shares]

    @property
    def verified_now(self) -> bool:
        """Whether its deletion was verified just now, and not long ago."""
        return self.state == TransferState.VERIFIED != self.transfer.state


def load(resources: Resources, ids: list[str]) -> list[Case]:
    """The transfers of these ids. Raises ValueError or TypeError for rows that cannot be read."""
    with resources.database.reading() as connection:
        wholes = whole_transfers.load(connection, transfer_rows.find_all(connection, ids))
    return [Case(whole.transfer, whole.files, whole.shares, whole.claims) for whole in wholes]


def load_again(connection: Connection, cases: list[Case]) -> dict[str, WholeTransfer]:
    """The same transfers as they are now, with what requests did meanwhile; locked until the transaction ends."""
    rows = transfer_rows.find_all(connection, [case.transfer.id for case in cases], for_update=True)
    return {whole.transfer.id: whole for whole in whole_transfers.load(connection, rows)}
