"""Steps 7 and 8 of a file's life, by the sweeper: find what is due and have it ended and deleted, a batch at a time.

One sweep asks one indexed question; what is due it takes in batches, so that its cost is a few transactions per
batch and its memory constant. What is done with a batch, and observed, is in `app/deletion/`. Beside what is due by its
row goes what is due by the vault: whatever a row says, a transfer ends with its key.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from app.db import counter_rows, retention_figures, service_rows, transfer_rows
from app.lifecycle.deletion import TAKEN_FOR, Done, delete_batch
from app.lifecycle.refused_time import add_refused_time
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.resources import Resources
from app.storage.errors import StorageError

BATCH = 6000
"""Each entry of the log dirties a page of an index by transfer; the more at once, the more share one. Held for it: 40
to 60 MiB, and SQLite's write lock for less than a second at a time.
"""
BYTES_COUNT_AFTER = timedelta(hours=1)
"""Bytes that resist are alerted at once, and make sweeps count as failed after this long; keys do so at once."""

log = structlog.get_logger()


@dataclass(slots=True)
class SweepReport(Done):
    """What one sweep did. What failed in any sweep and is not done yet: `keys_left` transfers still have a key,
    `bytes_left` have kept bytes for over an hour.
    """

    keys_left: int = 0
    bytes_left: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether this sweep may keep the dead-man's switch at rest: no due key remains, no bytes resist for long."""
        return self.keys_left == 0 and self.bytes_left == 0


async def sweep(resources: Resources, *, assured: bool = True, watch: VaultWatch | None = None) -> SweepReport:
    """One sweep over everything due as it begins: what falls due meanwhile is the next one's, else a steady stream of
    expiries would keep it from ever ending. Raises only what stops it altogether (the database out of reach).

    `assured` False: whatever it achieves, it does not count as successful. `watch`: what the scheduler remembers of the
    vault from sweep to sweep; without it, the vault is read once for now.
    """
    report, begun_at = SweepReport(), resources.clock.now()
    watch = watch or VaultWatch()
    await resources.in_thread(add_refused_time, resources)
    await resources.in_thread(_read_vault, resources, watch, begun_at)
    seen = set[str]()
    while batch := await resources.in_thread(_take_due, resources, begun_at, seen):
        seen.update(batch)
        report.add(await delete_batch(resources, batch, watch))
    for batch in await resources.in_thread(_take_due_by_vault, resources, watch, begun_at):
        report.add(await delete_batch(resources, batch, watch))
    await resources.in_thread(_record, resources, report, assured=assured)
    return report


def _take_due(resources: Resources, by: datetime, seen: AbstractSet[str]) -> list[str]:
    """The next batch; empty at the end. Each transfer is taken once per sweep: one that is due again at once, whatever
    the sweeper writes (a trigger, somebody else), must not keep the sweep from ending.
    """
    with resources.database.reading() as connection:
        if not transfer_rows.anything_due(connection, by):
            return []
    with resources.database.writing() as transaction:
        due = transfer_rows.due(transaction.connection, by, BATCH + len(seen))
        batch = [one for one in due if one not in seen][:BATCH]
        transfer_rows.postpone(transaction.connection, batch, resources.clock.now() + TAKEN_FOR)
    return batch


def _read_vault(resources: Resources, watch: VaultWatch, now: datetime) -> None:
    """A vault out of reach does not hold up what is due by the rows; deletion is loud about it."""
    try:
        watch.read(resources, now)
    except StorageError as error:
        log.error("vault_not_read", error=type(error).__name__, alert=True)


def _take_due_by_vault(resources: Resources, watch: VaultWatch, by: datetime) -> list[list[str]]:
    """Open transfers whose second came by the vault and not by their rows: normally none."""
    due = watch.due(by)
    if not due:
        return []
    with resources.database.reading() as connection:
        still_open = transfer_rows.open_among(connection, due, by)
        waiting = transfer_rows.open_among(connection, due, datetime.max.replace(tzinfo=UTC))
    watch.forget(set(due) - set(waiting))
    batches = [still_open[first : first + BATCH] for first in range(0, len(still_open), BATCH)]
    for batch in batches:
        with resources.database.writing() as transaction:
            transfer_rows.postpone(transaction.connection, batch, resources.clock.now() + TAKEN_FOR)
    return batches


def _record(resources: Resources, report: SweepReport, *, assured: bool) -> None:
    """The sweep reached its end: raise the time mark, and if nothing due kept a key, put off the dead-man's switch.

    Transfers that failed earlier and wait for their next try count too.
    """
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        report.keys_left = retention_figures.count_keys_left(transaction.connection, now)
        report.bytes_left = retention_figures.count_bytes_left(transaction.connection, now - BYTES_COUNT_AFTER)
        if service_rows.get(transaction.connection).clock_problem is None:  # else `keep_time` counts the waiting by it
            service_rows.keep_mark(transaction.connection, now)
        counter_rows.add(transaction.connection, {"sweeps" if report.succeeded and assured else "sweeps_failed": 1})
        if report.succeeded and assured:
            service_rows.record_sweep(transaction.connection, now)
