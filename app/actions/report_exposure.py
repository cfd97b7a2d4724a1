"""Report the exposure of data in a period, after a breach: what was held, who fetched it or tried to, and when it was
deleted.

The report uses only the log, so it is the same after every transfer's rows are gone. The log is read in pages, each in
a short transaction; memory is bounded by the size of the report. An index finds the transfers held in the period, and
only their entries are read, so a report on one day does not read the log of a year.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.db import audit_queries, audit_size
from app.db.audit_rows import StoredEntry
from app.domain.exposure import ExposureReport
from app.domain.period import Period, is_pruned
from app.domain.transfer_account import TransferAccount
from app.lifecycle.evidence import evidence_of
from app.lifecycle.transfer_entries import batches, entries_of, interpreting
from app.runtime.resources import Resources

PAGE = 1_000
INDEX_ROWS = 50_000


def report_exposure(resources: Resources, period: Period) -> ExposureReport:
    """Return the exposure in a period according to the log as it is now. Raises LogUnreadable."""
    with resources.database.reading() as connection:
        size = audit_size.size(connection)
        pruned_before = audit_queries.first_kept(connection)
        lost = [gap for gap in audit_queries.restores(connection) if gap[0] < period.until and gap[1] > period.since]
    report = ExposureReport(resources.clock.now(), period.since, period.until, size, pruned_before, lost)
    report.evidence = evidence_of(resources)
    report.complete = not lost and not is_pruned(pruned_before, since=period.since)
    concerned = set(_held_at_its_beginning(resources, period))
    for entry in _in_period(resources, period, size):
        with interpreting(entry):
            fields = entry.fields()
            if "transfer" in fields:
                concerned.add(str(fields["transfer"]))
            elif fields:
                report.add_other(str(fields["event"]), entry.at, fields)
    for batch in batches(sorted(concerned)):
        for account in _accounts(resources, period, batch, size):
            report.add(account)
    report.total()
    return report


def _held_at_its_beginning(resources: Resources, period: Period) -> Iterator[str]:
    after: str | None = ""
    while after is not None:
        with resources.database.reading() as connection:
            page = audit_queries.held_at(connection, period.since, after, INDEX_ROWS)
        yield from page.transfers
        after = page.after


def _in_period(resources: Resources, period: Period, size: int) -> Iterator[StoredEntry]:
    after = (period.since, -1)
    while True:
        with resources.database.reading() as connection:
            page = audit_queries.in_period(connection, period, after, PAGE)
        yield from (entry for entry in page if entry.sequence < size)
        if len(page) < PAGE:
            return
        after = (page[-1].at, page[-1].sequence)


def _accounts(resources: Resources, period: Period, transfers: list[str], size: int) -> list[TransferAccount]:
    """Return the accounts of these transfers, each built from all its entries below `size`."""
    accounts = {transfer: TransferAccount(transfer, period) for transfer in transfers}
    for entry in entries_of(resources, transfers, size):
        with interpreting(entry):
            fields = entry.fields()
            accounts[str(fields["transfer"])].add(str(fields["event"]), entry.at, fields)
    return list(accounts.values())
