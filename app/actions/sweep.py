"""Steps 7 and 8 of a file's life: the sweeper finds due transfers, and ends and deletes them in batches.

A sweep runs one indexed query and takes due transfers in batches, so it costs a few transactions per batch and constant
memory. `app/lifecycle/deletion.py` processes a batch. A transfer is due by its row or by the vault: it ends with its
key, whatever its row contains.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from app.db import retention_figures, service_rows, transfer_rows
from app.lifecycle.deletion import TAKEN_FOR, BatchResult, delete_batch
from app.lifecycle.refused_time import add_refused_time
from app.lifecycle.vault_watch import VaultWatch
from app.runtime.resources import Resources
from app.storage.errors import StorageError

BATCH = 6000
"""Each log entry dirties a page of an index by transfer, and in larger batches more entries share a page. A batch needs
40 to 60 MiB, and holds SQLite's write lock for less than a second at a time.
"""
SMALL_BATCH, ROOMY_BYTES = 100, 256 * 1024 * 1024
"""With less free space than ROOMY_BYTES on SQLite's volume a batch is small: the WAL of a large one, which cannot be
truncated before its pages are in the database, would leave no room for them.
"""
BYTES_COUNT_AFTER = timedelta(hours=1)
"""Bytes that cannot be deleted raise an alert at once and make sweeps fail after this long; keys do so at once."""

log = structlog.get_logger()


@dataclass(slots=True)
class SweepReport(BatchResult):
    """Results of one sweep. Including failures of earlier sweeps, `keys_left` transfers still have a key and
    `bytes_left` have kept bytes for over an hour.
    """

    keys_left: int = 0
    bytes_left: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether this sweep may reset the dead-man's switch: no due key is left, and no bytes for too long."""
        return self.keys_left == 0 and self.bytes_left == 0


async def sweep(resources: Resources, *, assured: bool = True, watch: VaultWatch | None = None) -> SweepReport:
    """Sweep everything due at the start; later expiries are left to the next sweep, or a steady stream of them would
    keep this one from ending. Raises only if the sweep cannot continue (database unavailable).

    With `assured` False the sweep never counts as successful. `watch` is the scheduler's cache of the vault across
    sweeps; without it, the vault is read once.
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
    """Return the next batch, empty at the end. Each transfer is taken once per sweep, so that one that becomes due
    again at once (through a trigger or another writer) cannot keep the sweep from ending.
    """
    with resources.database.reading() as connection:
        if not transfer_rows.anything_due(connection, by):
            return []
    with resources.database.writing() as transaction:
        size = _batch_size(resources)
        due = transfer_rows.due(transaction.connection, by, size + len(seen))
        batch = [one for one in due if one not in seen][:size]
        transfer_rows.postpone(transaction.connection, batch, resources.clock.now() + TAKEN_FOR)
    return batch


def _batch_size(resources: Resources) -> int:
    free = resources.database.reserve.free_bytes()
    return BATCH if free is None or free >= ROOMY_BYTES else SMALL_BATCH


def _read_vault(resources: Resources, watch: VaultWatch, now: datetime) -> None:
    """Read the vault. A failure is logged and does not delay transfers that are due by their rows."""
    try:
        watch.read(resources, now)
    except StorageError as error:
        log.error("vault_not_read", error=type(error).__name__, alert=True)


def _take_due_by_vault(resources: Resources, watch: VaultWatch, by: datetime) -> list[list[str]]:
    """Return batches of open transfers that are due by the vault but not by their rows; normally none."""
    due = watch.due(by)
    if not due:
        return []
    with resources.database.reading() as connection:
        still_open = transfer_rows.open_among(connection, due, by)
        waiting = transfer_rows.open_among(connection, due, datetime.max.replace(tzinfo=UTC))
    watch.forget(set(due) - set(waiting))
    size = _batch_size(resources)
    batches = [still_open[first : first + size] for first in range(0, len(still_open), size)]
    for batch in batches:
        with resources.database.writing() as transaction:
            transfer_rows.postpone(transaction.connection, batch, resources.clock.now() + TAKEN_FOR)
    return batches


def _record(resources: Resources, report: SweepReport, *, assured: bool) -> None:
    """Record a completed sweep: advance the time mark, and reset the dead-man's switch if the sweep succeeded.

    Transfers that failed earlier and wait for their retry count too. A sweep by a clock that PostgreSQL's contradicts
    does not count: its time would mislead the other hosts.
    """
    now = resources.clock.now()
    with resources.database.writing() as transaction:
        state = service_rows.get(transaction.connection)
        if state.database_clock is not None and resources.clock.judge(state.time).problem is not None:
            assured = False
        report.keys_left = retention_figures.count_keys_left(transaction.connection, now)
        report.bytes_left = retention_figures.count_bytes_left(transaction.connection, now - BYTES_COUNT_AFTER)
        if state.clock_problem is None:  # else `keep_time` counts the waiting by it
            service_rows.keep_mark(transaction.connection, now)
        transaction.count({"sweeps" if report.succeeded and assured else "sweeps_failed": 1})
        if report.succeeded and assured:
            service_rows.record_sweep(transaction.connection, now)
