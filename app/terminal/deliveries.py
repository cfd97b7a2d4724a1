"""`caducee audit deliveries`: deposits of a period by recipient and depositor, and what nobody fetched."""

from __future__ import annotations

import typer

from app.actions.report_deliveries import report_deliveries
from app.domain.deliveries import DeliveryReport
from app.domain.document import document
from app.domain.period import parse_period
from app.reports.deliveries import deliveries_page
from app.terminal.caller_file import caller_file
from app.terminal.console import CANNOT, AsJson, put, put_json, put_rows, put_table
from app.terminal.gap_lines import gap_lines
from app.terminal.opened import opened
from app.terminal.report_options import Language, PageFile, PageLanguage, Since, Until
from app.terminal.table import Column


def deliveries(
    *,
    since: Since,
    until: Until = None,
    html: PageFile = None,
    lang: Language = PageLanguage.EN,
    as_json: AsJson = False,
) -> None:
    """Report a period's deposits by recipient and by depositor, and those never fetched. Exit 2 if not complete."""
    with caller_file(html) as write_page, opened() as resources:
        report = report_deliveries(resources, parse_period(since, until, resources.clock.now()))
        if html is not None:
            write_page(deliveries_page(report, resources.settings, lang.value))
    if as_json:
        put_json(document(report))
    else:
        _print(report)
    if not report.complete:
        raise typer.Exit(CANNOT)


def _print(report: DeliveryReport) -> None:
    totals = [
        ("from", report.since),
        ("to", report.until),
        ("transfers deposited", report.transfers),
        ("of which something was fetched", report.fetched),
        ("deposited and never fetched", report.never_fetched_count),
    ]
    put_table(("WHAT", "VALUE"), totals)
    _put_recipients(report)
    _put_depositors(report)
    _put_never_fetched(report)
    for line in gap_lines(report):
        put(line)


def _put_recipients(report: DeliveryReport) -> None:
    put("\nBy recipient")
    counts = [
        Column("SHARES", 6),
        Column("CLAIMED", 7, rank=2),
        Column("FETCHED", 7),
        Column("WAITING", 7, rank=1),
        Column("UNFETCHED", 9),
        Column("BYTES", 14, rank=3),
    ]
    put_rows(
        [*counts, Column("RECIPIENT", text=True)],
        (
            (it.shares, it.claimed, it.fetched, it.waiting, it.unfetched, it.bytes, it.recipient or "(no longer kept)")
            for it in report.by_recipient
        ),
    )


def _put_depositors(report: DeliveryReport) -> None:
    put("\nBy depositor")
    counts = [
        Column("TRANSFERS", 9),
        Column("FILES", 6, rank=1),
        Column("BYTES", 14, rank=3),
        Column("SHARES", 6),
        Column("FETCHED", 7),
        Column("NEVER FETCHED", 13),
    ]
    put_rows(
        [*counts, Column("DEPOSITOR", text=True)],
        (
            (it.transfers, it.files, it.bytes, it.shares, it.fetched, it.never_fetched, it.name or it.token)
            for it in report.by_depositor
        ),
    )


def _put_never_fetched(report: DeliveryReport) -> None:
    put("\nDeposited and never fetched")
    put_rows(
        [
            Column("TRANSFER", 22),
            Column("CREATED", 20, rank=1),
            Column("EXPIRES", 20),
            Column("ENDED", 10, rank=2),
            Column("DEPOSITOR", text=True),
            Column("RECIPIENTS", text=True),
        ],
        (
            (it.transfer, it.created_at, it.expires_at, it.ending or "", it.depositor, ", ".join(it.recipients))
            for it in report.never_fetched
        ),
    )
