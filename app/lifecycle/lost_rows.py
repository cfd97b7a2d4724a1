"""Find transfers that the log names but that have no row in the database.

The service never removes a transfer's row, so someone else removed these. Code that goes by rows never sees them, and
their bytes may be hidden under another transfer's row. Only the log still records their files and expiry.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from app.db import testimony_rows
from app.domain.testimony import Testimony
from app.domain.transfer import TransferState
from app.runtime.resources import Resources

PAGE = 20_000
"""Entries of the log read in one transaction."""

KEPT = 10_000
"""Maximum number of lost transfers handled in one run; later runs handle the rest."""


@dataclass(frozen=True, slots=True)
class LostTransfers:
    """Log records of transfers without a row, by transfer id: ended ones and others."""

    ended: dict[str, Testimony]
    living: dict[str, Testimony]

    @property
    def blobs_of_ended(self) -> set[str]:
        """Ids of all blobs that the log names for ended transfers."""
        return set[str]().union(*(testimony.blobs for testimony in self.ended.values()))


def find_lost(resources: Resources, due: datetime) -> LostTransfers:
    """Search the log's index page by page. Transfers that end by `due` count as ended. Raises DatabaseUnavailable."""
    found = LostTransfers({}, {})
    after: str | None = ""
    while after is not None and len(found.ended) + len(found.living) < KEPT:
        with resources.database.reading() as connection:
            ids, after = testimony_rows.without_row(connection, after, PAGE)
            testimonies = testimony_rows.of_transfers(connection, ids)
        for transfer_id, each in testimonies.items():
            (found.ended if _has_ended(each, due) else found.living)[transfer_id] = each
    return found


def left_of(resources: Resources, lost: LostTransfers) -> set[str]:
    """Return ended transfers of which the vault or the blob store still holds something. Must not run on an event loop.
    Raises StorageError.
    """
    if not lost.ended:
        return set()
    found = resources.vault.find(lost.ended.keys())
    blobs = asyncio.run(resources.blobs.present(sorted(lost.blobs_of_ended)))
    named = {name.transfer_id for name in found.names} | found.misplaced
    return named | {one for one, testimony in lost.ended.items() if not blobs.isdisjoint(testimony.blobs)}


def _has_ended(testimony: Testimony, due: datetime) -> bool:
    end = testimony.ends_at
    return testimony.state == TransferState.VERIFIED or (end is not None and end <= due)
