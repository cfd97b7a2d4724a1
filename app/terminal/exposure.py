"""`caducee audit exposure`: transfers held in a period, downloads, refused attempts, and deletions."""

from __future__ import annotations

import typer

from app.actions.report_exposure import report_exposure
from app.domain.document import document
from app.domain.exposure import ExposureReport, Volume
from app.domain.period import parse_period
from app.reports.exposure import exposure_page
from app.terminal.caller_file import caller_file
from app.terminal.console import CANNOT, AsJson, put, put_json, put_rows, put_table
from app.terminal.gap_lines import gap_lines
from app.terminal.opened import opened
from app.terminal.report_options import Language, PageFile, PageLanguage, Since, Until
from app.terminal.table import Column


def exposure(
    *,
    since: Since,
    until: Until = None,
    html: PageFile = None,
    lang: Language = PageLanguage.EN,
    as_json: AsJson = False,
) -> None:
    """Report data held and fetched in a period, from the log alone. Exit 2 if the log is incomplete for it."""
    with caller_file(html) as write_page, opened() as resources:
        report = report_exposure(resources, parse_period(since, until, resources.clock.now()))
        if html is not None:
            write_page(exposure_page(report, resources.settings, lang.value))
    if as_json:
        put_json(document(report))
    else:
        _print(report)
    if not report.complete:
        raise typer.Exit(CANNOT)


def _print(report: ExposureReport) -> None:
    put_table(("WHAT", "VALUE"), [("from", report.since), ("to", report.until), *_totals(report)])
    for title, columns, rows in _tables(report):
        if rows:
            put(f"\n{title}")
            put_rows(columns, rows)
    for line in incompleteness(report):
        put(line)


def _totals(report: ExposureReport) -> list[tuple[str, object]]:
    fetched, refused, deleted = report.fetched, report.refused, report.deleted
    return [
        ("held", _volume(report.held)),
        ("held, with keys", _volume(report.with_keys)),
        *((f"held for {each.purpose or '(no purpose given)'}", _volume(each.volume)) for each in report.purposes),
        ("claims open during the period", fetched.claims),
        ("fetched", f"{fetched.bytes} bytes in {fetched.downloads} downloads, by {fetched.recipients} recipients"),
        ("downloads without a logged end", f"at most {fetched.bytes_untold} more bytes"),
        ("addresses of recipients", fetched.addresses),
        ("wrong passwords", f"{refused.wrong_passwords} from {refused.addresses} addresses"),
        ("links refused", f"{refused.links}, at most {refused.most_links_in_a_minute} in a minute"),
        ("access tokens refused", refused.tokens),
        ("deleted", f"{deleted.transfers} transfers, {deleted.files} files, {deleted.bytes} bytes"),
        ("worst lateness", f"{deleted.worst_lateness_ms} ms"),
        ("deletions that failed at first", deleted.failures),
    ]


def _volume(volume: Volume) -> str:
    people = f"{volume.records} people declared"
    silent = f" ({volume.transfers_without_records} transfers declare none)" if volume.transfers_without_records else ""
    return f"{volume.transfers} transfers, {volume.files} files, {volume.bytes} bytes, {people}{silent}"


Tables = list[tuple[str, tuple[Column, ...], list[tuple[object, ...]]]]


def _tables(report: ExposureReport) -> Tables:
    transfer, moment = Column("TRANSFER", 22), 20
    return [
        (
            "Held",
            (
                transfer,
                Column("CREATED", moment, rank=1),
                Column("KEYS UNTIL", moment, rank=3),
                Column("GONE", moment, rank=2),
                Column("FILES", 5, rank=5),
                Column("BYTES", 12, rank=4),
                Column("PURPOSE", 16, text=True),
            ),
            [
                (
                    held.transfer,
                    held.created_at,
                    held.keys_destroyed_at,
                    held.deleted_at,
                    held.files,
                    held.bytes,
                    held.purpose,
                )
                for held in report.transfers
            ],
        ),
        (
            "Claims",
            (
                transfer,
                Column("SHARE", 22, rank=2),
                Column("CLAIMED", moment, rank=1),
                Column("BYTES", 12, rank=4),
                Column("DOWNLOADS", 9, rank=5),
                Column("ENDED", 10, rank=3),
                Column("ADDRESSES", 39, text=True),
            ),
            [
                (
                    seen.transfer,
                    seen.share,
                    seen.claimed_at,
                    seen.bytes,
                    seen.downloads,
                    seen.ending,
                    " ".join(seen.addresses),
                )
                for seen in report.claims
            ],
        ),
        (
            "Wrong passwords",
            (
                transfer,
                Column("SHARE", 22, rank=2),
                Column("FIRST", moment, rank=1),
                Column("LAST", moment, rank=3),
                Column("COUNT", 5),
                Column("ADDRESS", 39, text=True),
            ),
            [
                (wrong.transfer, wrong.share, wrong.first_at, wrong.last_at, wrong.count, wrong.address)
                for wrong in report.wrong_passwords
            ],
        ),
        (
            "Links refused, per minute",
            (Column("MINUTE ENDING", moment), Column("COUNT", 0)),
            [(refused.at, refused.count) for refused in report.refused_links],
        ),
        (
            "Access tokens refused, per minute",
            (Column("MINUTE ENDING", moment), Column("COUNT", 5), Column("ADDRESSES", 39, text=True)),
            [(refused.at, refused.count, refused.addresses) for refused in report.refused_tokens],
        ),
        (
            "Deleted",
            (
                transfer,
                Column("AT", moment),
                Column("WHY", 10, rank=2),
                Column("FILES", 5, rank=5),
                Column("BYTES", 12, rank=4),
                Column("LATE MS", 0, rank=1),
            ),
            [
                (gone.transfer, gone.at, gone.ending, gone.files, gone.bytes, gone.lateness_ms)
                for gone in report.deletions
            ],
        ),
        (
            "Deletions that failed at first",
            (transfer, Column("AT", moment), Column("WHAT", 20, text=True)),
            [(failed.transfer, failed.at, failed.what) for failed in report.failed_deletions],
        ),
        (
            "The service as a whole",
            (Column("AT", moment), Column("EVENT", 20), Column("ACTOR", 10), Column("COUNT", 0)),
            [(seen.at, seen.event, seen.actor, seen.count) for seen in report.incidents],
        ),
    ]


def incompleteness(report: ExposureReport) -> list[str]:
    """Return one sentence for each part of the period that the log does not cover."""
    said = list(gap_lines(report))
    if report.told_in_part:
        said.append(
            f"NOT COMPLETE: {report.told_in_part} transfers were created in the pruned part of the log: "
            "their files, bytes and people are not fully counted"
        )
    return said
