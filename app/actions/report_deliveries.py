"""Report what was deposited in a period, by depositor and recipient, and what nobody fetched.

The log is read in pages and summed up per depositor and recipient, so memory does not grow with the number of
transfers.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.db import access_token_rows, audit_queries, audit_size, share_rows
from app.domain.deliveries import DeliveryReport, DeliveryTotals, DepositedTransfer
from app.domain.period import Period, is_pruned
from app.lifecycle.evidence import evidence_of
from app.lifecycle.transfer_entries import batches, entries_of, interpreting
from app.runtime.resources import Resources

PAGE = 1_000


def report_deliveries(resources: Resources, period: Period) -> DeliveryReport:
    """Return the report on the transfers created in a period, according to the log as it is now. Raises
    LogUnreadable.
    """
    evidence = evidence_of(resources)
    with resources.database.reading() as connection:
        size = audit_size.size(connection)
        pruned_before = audit_queries.first_kept(connection)
        lost = [gap for gap in audit_queries.restores(connection) if gap[0] < period.until and gap[1] > period.since]
        tokens = {token.id: token.name for token in access_token_rows.every(connection)}
    complete = not lost and not is_pruned(pruned_before, since=period.since)
    report = DeliveryReport(resources.clock.now(), period.since, period.until, complete, evidence, pruned_before, lost)
    totals = DeliveryTotals(report, tokens)
    for batch in batches(_created(resources, period, size)):
        with resources.database.reading() as connection:
            names = share_rows.recipients_of(connection, batch)
        for transfer in _transfers(resources, batch, size):
            totals.add(transfer, names)
    return totals.finish()


def _created(resources: Resources, period: Period, size: int) -> Iterator[str]:
    after = (period.since, -1)
    while True:
        with resources.database.reading() as connection:
            page = audit_queries.created_in(connection, period, after, PAGE)
        yield from (transfer for transfer, _, sequence in page if sequence < size)
        if len(page) < PAGE:
            return
        after = page[-1][1:]


def _transfers(resources: Resources, transfers: list[str], size: int) -> list[DepositedTransfer]:
    found = {transfer: DepositedTransfer(transfer) for transfer in transfers}
    for entry in entries_of(resources, transfers, size):
        with interpreting(entry):
            fields = entry.fields()
            found[str(fields["transfer"])].add(str(fields["event"]), entry.at, fields)
    return list(found.values())
