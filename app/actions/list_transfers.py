"""Show depositors their transfers and the state of each share. The server cannot read file names, so none here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.db import share_rows, transfer_rows
from app.db.share_rows import ClaimRow, ShareRow
from app.db.transfer_rows import FileRow, TransferRow
from app.domain.access_token import Caller
from app.domain.errors import TransferNotFound
from app.resources import Resources

MOST = 500
"""A list shows the newest so many; whoever needs more asks by id."""


@dataclass(frozen=True, slots=True)
class TransferShown:
    """A transfer with its files, shares and claims, as of one moment."""

    transfer: TransferRow
    files: list[FileRow]
    shares: list[ShareRow]
    claims: list[ClaimRow]
    now: datetime


def list_transfers(resources: Resources, caller: Caller | None) -> list[TransferShown]:
    """The newest transfers of the caller; of everybody for an operator on the machine (None)."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        if caller is None:
            rows = transfer_rows.newest(connection, MOST)
        else:
            rows = transfer_rows.owned_by(connection, caller.token_id, MOST)
        ids = [row.id for row in rows]
        files = transfer_rows.files_of(connection, ids)
        shares = share_rows.of_transfers(connection, ids)
        claims = share_rows.claims_of(connection, ids)
    return [
        TransferShown(
            row,
            [file for file in files if file.transfer_id == row.id],
            [share for share in shares if share.transfer_id == row.id],
            [claim for claim in claims if claim.transfer_id == row.id],
            now,
        )
        for row in rows
    ]


def show_transfer(resources: Resources, caller: Caller | None, transfer_id: str) -> TransferShown:
    """One transfer. Raises TransferNotFound, also for others' transfers."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        row = transfer_rows.find(connection, transfer_id)
        if row is None or (caller is not None and row.token_id != caller.token_id):
            raise TransferNotFound
        return TransferShown(
            row,
            transfer_rows.files_of(connection, [transfer_id]),
            share_rows.of_transfers(connection, [transfer_id]),
            share_rows.claims_of(connection, [transfer_id]),
            now,
        )
