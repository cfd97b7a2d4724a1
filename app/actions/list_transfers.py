"""List transfers with the state of each share. File names are missing: the server cannot decrypt them."""

from __future__ import annotations

from app.db import transfer_rows, whole_transfers
from app.db.whole_transfers import WholeTransfer
from app.domain.access_token import Caller, require_owner
from app.runtime.resources import Resources

MOST = 500
"""Maximum number of transfers in a list, newest first; older ones are available by id."""


def list_transfers(resources: Resources, caller: Caller | None) -> list[WholeTransfer]:
    """Return the newest transfers of the caller's owner, at most MOST; those of all owners for an operator (None)."""
    with resources.database.reading() as connection:
        if caller is None:
            rows = transfer_rows.newest(connection, MOST)
        else:
            rows = transfer_rows.owned_by(connection, caller.owner, MOST)
        return whole_transfers.load(connection, rows)


def show_transfer(resources: Resources, caller: Caller | None, transfer_id: str) -> WholeTransfer:
    """Return one transfer. Raises TransferNotFound, also for others' transfers."""
    with resources.database.reading() as connection:
        row = require_owner(transfer_rows.find(connection, transfer_id), caller)
        return whole_transfers.load(connection, [row])[0]
