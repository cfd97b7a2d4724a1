"""Transfers that the log names and of which the database has no row.

No row of a transfer is ever removed by the service, so somebody removed these. Whatever goes by rows never sees them,
and their bytes may hide under the row of another transfer. Only the log still says what they were and when they end.
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
"""At most this many lost transfers are looked at; the rest is looked at once these are gone."""


@dataclass(frozen=True, slots=True)
class LostTransfers:
    """What the log says of each transfer without a row: those that have ended, and those that have not."""

    ended: dict[str, Testimony]
    living: dict[str, Testimony]

    @property
    def blobs_of_ended(self) -> set[str]:
        """Every blob that the log names for one that has ended."""
        return set[str]().union(*(told.blobs for told in self.ended.values()))


def find_lost(resources: Resources, due: datetime) -> LostTransfers:
    """Read the log's index, page by page. `due`: what ended by then has ended. Raises DatabaseUnavailable."""
    found = LostTransfers({}, {})
    after: str | None = ""
    while after is not None and len(found.ended) + len(found.living) < KEPT:
        with resources.database.reading() as connection:
            ids, after = testimony_rows.without_row(connection, after, PAGE)
            told = testimony_rows.told_of(connection, ids)
        for transfer_id, each in told.items():
            (found.ended if _has_ended(each, due) else found.living)[transfer_id] = each
    return found


def left_of(resources: Resources, lost: LostTransfers) -> set[str]:
    """Those that ended, and of which the vault or the blob store still holds something. Not on an event loop. Raises
    StorageError.
    """
    if not lost.ended:
        return set()
    found = resources.vault.find(lost.ended.keys())
    blobs = asyncio.run(resources.blobs.present(sorted(lost.blobs_of_ended)))
    named = {name.transfer_id for name in found.names} | found.misplaced
    return named | {one for one, told in lost.ended.items() if not blobs.isdisjoint(told.blobs)}


def _has_ended(told: Testimony, due: datetime) -> bool:
    end = told.ends_at
    return told.state == TransferState.VERIFIED or (end is not None and end <= due)
