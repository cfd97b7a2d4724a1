"""Show depositors their transfers and the state of each share. The server cannot read file names, so none here."""

from __future__ import annotations

from app.db import transfer_rows, whole_transfers
from app.db.whole_transfers import WholeTransfer
from app.domain.access_token import Caller, require_owner
from app.runtime.resources import Resources

MOST = 500
"""Maximum number of transfers in a list, newest first; older ones are available by id."""


def list_transfers(resources: Resources, caller: Caller | None) -> list[WholeTransfer]:
    """The newest transfers of the caller; of everybody for an operator on the machine (None)."""
    with resources.database.reading() as connection:
        if caller is None:
            rows = transfer_rows.newest(connection, MOST)
        else:
            rows = transfer_rows.owned_by(connection, caller.owner, MOST)
        return whole_transfers.load(connection, rows)


def show_transfer(resources: Resources, caller: Caller | None, transfer_id: str) -> WholeTransfer:
    """One transfer. Raises TransferNotFound, also for others' transfers."""
    with resources.database.reading() as connection:
        row = require_owner(transfer_rows.find(connection, transfer_id), caller)
        return whole_transfers.load(connection, [row])[0]
