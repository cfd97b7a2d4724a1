"""The exposure report as a page: the figures for a notification under GDPR articles 33 and 34, with evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time
from typing import TypeVar

from app.domain.exposure import ExposureReport, Volume
from app.domain.transfer_account import SeenClaim
from app.reports.gap_verdicts import gap_verdicts
from app.reports.page import ROWS_SHOWN, Bar, Bars, Column, Fact, Page, Table, Verdict, report_page
from app.reports.words import Words
from app.runtime.settings import Settings

BUSIEST_MINUTES = 20
DAYS_SHOWN = 62

Row = TypeVar("Row")


def exposure_page(report: ExposureReport, settings: Settings, language: str) -> str:
    """Return the page as HTML."""
    words = Words(language, settings.zone)
    return report_page(exposure_content(report, settings, words), words, settings.organisation)


def exposure_content(report: ExposureReport, settings: Settings, words: Words) -> Page:
    """Return what the page shows."""
    return Page(
        title=words("exposure_title"),
        intro=[
            words("period", since=report.since, until=report.until),
            words("exposure_note", time=report.at, entries=report.entries),
            *([words("contact", contact=settings.contact)] if settings.contact else []),
        ],
        verdicts=list(_verdicts(report, words)),
        facts=list(_figures(report, words)),
        sections=_Tables(report, words).every(),
        evidence=report.evidence,
        steps=[words("exposure_meaning")],
    )


def _verdicts(report: ExposureReport, words: Words) -> Iterator[Verdict]:
    yield from gap_verdicts(report, words)
    if report.told_in_part:
        yield Verdict(words("exposure_in_part", count=report.told_in_part), bad=True)


def _figures(report: ExposureReport, words: Words) -> Iterator[Fact]:
    fetched, refused, deleted = report.fetched, report.refused, report.deleted
    yield Fact(words("held"), _volume(report.held, words), [_people(report.held, words)])
    yield Fact(words("held_with_keys"), _volume(report.with_keys, words), [_people(report.with_keys, words)])
    for each in report.purposes:
        label = words("held_for", purpose=each.purpose) if each.purpose else words("held_for_none")
        yield Fact(label, _volume(each.volume, words), [_people(each.volume, words)])
    yield Fact(words("open_claims"), words.number(fetched.claims))
    downloads = words("downloads", count=fetched.downloads)
    shares = words("by_recipients", count=fetched.recipients)
    yield Fact(words("fetched"), f"{words('bytes', count=fetched.bytes)}, {downloads}, {shares}")
    untold = words("bytes", count=fetched.bytes_untold)
    yield Fact(words("bytes_untold"), words("at_most", bytes=untold))
    yield Fact(words("addresses"), words.number(fetched.addresses))
    yield Fact(
        words("wrong_passwords"), words("from_addresses", number=refused.wrong_passwords, count=refused.addresses)
    )
    most = words("most_in_a_minute", number=refused.most_links_in_a_minute)
    yield Fact(words("links_refused"), words.number(refused.links), [most] if refused.links else [])
    gone = words("transfers_count", count=deleted.transfers), words("files", count=deleted.files)
    yield Fact(words("deleted"), ", ".join([*gone, words("bytes", count=deleted.bytes)]))
    yield Fact(words("worst_lateness"), words("seconds", seconds=deleted.worst_lateness_ms / 1000))
    yield Fact(words("deletions_failed_at_first"), words.number(deleted.failures))


def _volume(volume: Volume, words: Words) -> str:
    counts = (("transfers_count", volume.transfers), ("files", volume.files), ("bytes", volume.bytes))
    return ", ".join(words(name, count=count) for name, count in counts)


def _people(volume: Volume, words: Words) -> str:
    declared = words("people_declared", count=volume.records)
    silent = volume.transfers_without_records
    return f"{declared} · {words('people_not_declared', count=silent)}" if silent else declared


class _Tables:
    """The tables of the report, each with its first rows."""

    def __init__(self, report: ExposureReport, words: Words) -> None:
        self._report, self._words = report, words

    def every(self) -> list[Table | Bars]:
        return [
            self._held(),
            *self._claims_by_day(),
            self._claims(),
            self._wrong_passwords(),
            self._refused_links(),
            self._deletions(),
            self._failures(),
            self._incidents(),
        ]

    def _held(self) -> Table:
        number = self._words.number
        return self._table(
            "held",
            "transfer:id created keys_until gone_at files_title:number bytes_title:number people:number purpose",
            self._report.transfers,
            lambda it: [
                it.transfer,
                self._moment(it.created_at, "pruned"),
                self._moment(it.keys_destroyed_at, "still_there"),
                self._moment(it.deleted_at, "still_there"),
                number(it.files),
                number(it.bytes),
                "" if it.records is None else number(it.records),
                it.purpose or "",
            ],
        )

    def _claims(self) -> Table:
        words, number = self._words, self._words.number

        def end(it: SeenClaim) -> str:
            if it.ending is None:
                return words("open")
            return f"{words.code('share_ending', it.ending)}, {self._moment(it.ended_at, 'unknown')}"

        return self._table(
            "claims_title",
            "transfer:id claimed_at addresses bytes_title:number downloads_title:number cut:number ended",
            self._report.claims,
            lambda it: [
                it.transfer,
                self._moment(it.claimed_at, "pruned"),
                " ".join(it.addresses),
                number(it.bytes),
                number(it.downloads),
                number(it.cut),
                end(it),
            ],
        )

    def _claims_by_day(self) -> Iterator[Bars]:
        """Yield the chart, if the log has claims and knows their times."""
        words = self._words
        days = Counter(it.claimed_at.astimezone(UTC).date() for it in self._report.claims if it.claimed_at is not None)
        bars = [
            Bar(words.day(datetime.combine(day, time(), UTC)), count, words.number(count))
            for day, count in sorted(days.items())[-DAYS_SHOWN:]
        ]
        if bars:
            yield Bars(words("claims_by_day"), words("claims_by_day_note"), (words("day"), words("claims_title")), bars)

    def _wrong_passwords(self) -> Table:
        words = self._words
        return self._table(
            "wrong_passwords",
            "transfer:id share:id address number:number first last",
            self._report.wrong_passwords,
            lambda it: [
                it.transfer,
                it.share,
                it.address or "",
                words.number(it.count),
                words.moment(it.first_at),
                words.moment(it.last_at),
            ],
        )

    def _refused_links(self) -> Table | Bars:
        words = self._words
        busiest = sorted(self._report.refused_links, key=lambda refused: -refused.count)[:BUSIEST_MINUTES]
        bars = [Bar(words.moment(it.at), it.count, words.number(it.count)) for it in busiest]
        title, columns = words("links_refused_by_minute"), (words("minute_ending"), words("number"))
        return Bars(title, "", columns, bars) if bars else Table(title, [], [], 0)

    def _deletions(self) -> Table:
        words = self._words
        return self._table(
            "deletions",
            "transfer:id verified_at reason files_title:number bytes_title:number late_by:number",
            self._report.deletions,
            lambda it: [
                it.transfer,
                words.moment(it.at),
                words.code("ending", it.ending),
                words.number(it.files),
                words.number(it.bytes),
                words("seconds", seconds=it.lateness_ms / 1000),
            ],
        )

    def _failures(self) -> Table:
        words = self._words
        return self._table(
            "deletions_failed_at_first",
            "transfer:id at left",
            self._report.failed_deletions,
            lambda it: [it.transfer, words.moment(it.at), words.code("left", it.what)],
        )

    def _incidents(self) -> Table:
        words = self._words
        return self._table(
            "service_as_a_whole",
            "at event actor number:number",
            self._report.incidents,
            lambda it: [
                words.moment(it.at),
                words.code("event", it.event.replace(".", "_")),
                words.code("actor", it.actor.partition(":")[0]),
                "" if it.count is None else words.number(it.count),
            ],
        )

    def _table(self, title: str, columns: str, rows: Sequence[Row], cells: Callable[[Row], list[str]]) -> Table:
        """`columns`: the keys of the labels, each with `:kind` if it is not text."""
        parted = (column.partition(":") for column in columns.split())
        heads = [Column(self._words(label), kind or "text") for label, _, kind in parted]
        return Table(self._words(title), heads, [cells(row) for row in rows[:ROWS_SHOWN]], len(rows))

    def _moment(self, moment: datetime | None, otherwise: str) -> str:
        return self._words(otherwise) if moment is None else self._words.moment(moment)
