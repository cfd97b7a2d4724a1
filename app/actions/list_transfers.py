"""List transfers with the state of each share, page by page. File names are missing: the server cannot decrypt them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.db import transfer_listing, transfer_rows, whole_transfers
from app.db.whole_transfers import WholeTransfer
from app.domain.access_token import Caller, require_owner
from app.domain.transfer_list import MAX_PAGE, Position, TransferFilter
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class TransferPage:
    """A page of transfers, newest first; `following` is None on the last page."""

    transfers: list[WholeTransfer]
    following: Position | None


def list_transfers(
    resources: Resources,
    caller: Caller | None,
    wanted: TransferFilter = TransferFilter(),  # noqa: B008 - frozen
    *,
    after: Position | None = None,
    limit: int = MAX_PAGE,
) -> TransferPage:
    """Return up to `limit` transfers after a position: the caller's owner's, or any owner's for an operator (None)."""
    with resources.database.reading() as connection:
        rows, following = transfer_listing.page(connection, _visible(wanted, caller), after, limit)
        return TransferPage(whole_transfers.load(connection, rows), following)


def count_transfers(resources: Resources, wanted: TransferFilter, after: Position | None) -> int:
    """Return how many transfers of all owners come after a position."""
    with resources.database.reading() as connection:
        return transfer_listing.count(connection, wanted, after)


def show_transfer(resources: Resources, caller: Caller | None, transfer_id: str) -> WholeTransfer:
    """Return one transfer. Raises TransferNotFound, also for others' transfers."""
    with resources.database.reading() as connection:
        row = require_owner(transfer_rows.find(connection, transfer_id), caller)
        return whole_transfers.load(connection, [row])[0]


def _visible(wanted: TransferFilter, caller: Caller | None) -> TransferFilter:
    return wanted if caller is None else replace(wanted, owner=caller.owner)
