"""Transfers loaded with their files, shares and claims, for lists and for the sweeper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from app.db import file_rows, share_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.db.transfer_rows import TransferRow


@dataclass(slots=True)
class WholeTransfer:
    """A transfer with its files, shares and claims, from one snapshot."""

    transfer: TransferRow
    files: list[FileRow] = field(default_factory=list)
    shares: list[ShareRow] = field(default_factory=list)
    claims: list[ClaimRow] = field(default_factory=list)


def load(connection: Connection, rows: Iterable[TransferRow]) -> list[WholeTransfer]:
    """Load the files, shares and claims of these transfers, in their order, in three queries."""
    wholes = {row.id: WholeTransfer(row) for row in rows}
    for file in file_rows.of_transfers(connection, wholes):
        wholes[file.transfer_id].files.append(file)
    for share in share_rows.of_transfers(connection, wholes):
        wholes[share.transfer_id].shares.append(share)
    for claim in share_rows.claims_of(connection, wholes):
        wholes[claim.transfer_id].claims.append(claim)
    return list(wholes.values())
