"""The delivery report as a page: by recipient, by depositor, and what nobody fetched."""

from __future__ import annotations

from app.domain.deliveries import DeliveryReport, UnfetchedTransfer
from app.reports.gap_verdicts import gap_verdicts
from app.reports.page import ROWS_SHOWN, Column, Fact, Page, Table, report_page
from app.reports.words import Words
from app.runtime.settings import Settings


def deliveries_page(report: DeliveryReport, settings: Settings, language: str) -> str:
    """Return the page as HTML."""
    words = Words(language, settings.zone)
    return report_page(deliveries_content(report, words), words, settings.organisation)


def deliveries_content(report: DeliveryReport, words: Words) -> Page:
    """Return what the page shows."""
    return Page(
        title=words("deliveries_title"),
        intro=[
            words("period", since=report.since, until=report.until),
            words("deliveries_note", time=report.at),
        ],
        verdicts=gap_verdicts(report, words),
        facts=[
            Fact(words("transfers_deposited"), words.number(report.transfers)),
            Fact(words("transfers_fetched"), words.number(report.fetched)),
            Fact(words("never_fetched"), words.number(report.never_fetched_count)),
        ],
        sections=[_by_recipient(report, words), _by_depositor(report, words), _never_fetched(report, words)],
        evidence=report.evidence,
    )


def _by_recipient(report: DeliveryReport, words: Words) -> Table:
    number = words.number
    columns = [
        Column(words("recipient")),
        *(Column(words(name), "number") for name in ("shares", "claimed", "fetched", "waiting", "unfetched")),
        *(Column(words(name), "number") for name in ("downloads_title", "bytes_title")),
        Column(words("last_fetched")),
    ]
    rows = [
        [
            words("name_gone") if each.recipient is None else each.recipient,
            *map(number, (each.shares, each.claimed, each.fetched, each.waiting, each.unfetched)),
            number(each.downloads),
            number(each.bytes),
            "" if each.last_fetched_at is None else words.moment(each.last_fetched_at),
        ]
        for each in report.by_recipient[:ROWS_SHOWN]
    ]
    return Table(words("by_recipient"), columns, rows, len(report.by_recipient), words("by_recipient_note"))


def _by_depositor(report: DeliveryReport, words: Words) -> Table:
    names = ("transfers", "files_title", "bytes_title", "shares", "fetched", "never_fetched")
    columns = [Column(words("depositor")), *(Column(words(name), "number") for name in names)]
    rows = [
        [
            each.name or words("token_gone", token=each.token),
            *map(
                words.number,
                (each.transfers, each.files, each.bytes, each.shares, each.fetched, each.never_fetched),
            ),
        ]
        for each in report.by_depositor[:ROWS_SHOWN]
    ]
    return Table(words("by_depositor"), columns, rows, len(report.by_depositor), words("by_depositor_note"))


def _never_fetched(report: DeliveryReport, words: Words) -> Table:
    columns = [
        Column(words("transfer"), "id"),
        *(Column(words(name)) for name in ("depositor", "recipient", "created", "ended_or_expires", "status")),
        *(Column(words(name), "number") for name in ("files_title", "bytes_title")),
    ]
    rows = [_unfetched(each, words) for each in report.never_fetched[:ROWS_SHOWN]]
    return Table(words("never_fetched"), columns, rows, report.never_fetched_count, words("never_fetched_note"))


def _unfetched(each: UnfetchedTransfer, words: Words) -> list[str]:
    gone = [words("names_gone", count=each.names_gone)] if each.names_gone else []
    end = each.ended_at or each.expires_at
    status = words("still_waiting") if each.ended_at is None else words.code("ending", each.ending)
    claimed = [words("claimed_without_download")] if each.claimed else []
    return [
        each.transfer,
        each.depositor,
        ", ".join([*each.recipients, *gone]) or words("no_share"),
        words("unknown") if each.created_at is None else words.moment(each.created_at),
        words("unknown") if end is None else words.moment(end),
        " · ".join([status, *claimed]),
        words.number(each.files),
        words.number(each.bytes),
    ]
