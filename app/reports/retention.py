"""The retention report as a page."""

from __future__ import annotations

from collections.abc import Iterator

from app.actions.report_retention import RetentionReport, Wrong
from app.domain.retention import LATENESS_BUCKETS_SECONDS
from app.reports.page import ROWS_SHOWN, Bar, Bars, Column, Fact, Page, Table, Verdict, report_page
from app.reports.words import Words
from app.runtime.settings import Settings

_WRONG = {
    Wrong.OVERDUE: "retention_overdue",
    Wrong.ORPHANED: "retention_orphaned",
    Wrong.CONTRADICTED: "retention_contradicted",
    Wrong.STRANGE: "retention_strange",
}


def retention_page(report: RetentionReport, settings: Settings, language: str) -> str:
    """Return the page as HTML."""
    words = Words(language, settings.zone)
    return report_page(retention_content(report, settings, words), words, settings.organisation)


def retention_content(report: RetentionReport, settings: Settings, words: Words) -> Page:
    """Return what the page shows."""
    return Page(
        title=words("retention_title"),
        intro=[words("as_of", time=report.at)],
        verdicts=list(_verdicts(report, words)),
        facts=[*_findings(report, words), *_problems(report, words)],
        sections=[
            _ages(report, words, settings.max_lifetime.days),
            _states(report, words),
            _lateness(report, words),
            _days(report, words),
            _gaps(report, words),
        ],
        evidence=report.evidence,
        facts_title=words("findings"),
    )


def _verdicts(report: RetentionReport, words: Words) -> Iterator[Verdict]:
    if report.exit_code > 1:
        yield Verdict(words("retention_unproved"), bad=True)
    elif not report.wrong:
        yield Verdict(words("retention_clean"))
    yield from (Verdict(words(_WRONG[each]), bad=True) for each in report.wrong)


def _findings(report: RetentionReport, words: Words) -> Iterator[Fact]:
    def count(number: int | None) -> str:
        return words("unknown") if number is None else words.number(number)

    worst = words("worst_by", seconds=report.worst_lateness_s) if report.overdue else ""
    yield Fact(words("overdue_transfers"), count(report.overdue), [worst] if worst else [])
    yield Fact(words("deletions_failing"), count(len(report.failing)), report.failing)
    yield Fact(words("keys_past_due"), count(report.vault.keys_past_due))
    yield Fact(words("hours_past_due"), count(report.vault.hours_past_due))
    yield Fact(words("orphans"), count(report.orphans))
    found = report.witnesses
    compared = None if found.compared_at is None else found.found
    when = [] if found.compared_at is None else [words("compared_at", time=found.compared_at)]
    named = [f"{words.code('contradiction', each.word)}: {each.transfer or '-'}" for each in found.contradictions]
    yield Fact(words("contradictions"), count(compared), [*named, *when])
    yield Fact(words("strangers"), count(len(found.strangers)), found.strangers)
    swept = words("never") if report.last_sweep_at is None else words.moment(report.last_sweep_at)
    yield Fact(words("last_sweep"), swept, [] if report.sweeping else [words("too_long_ago")])
    drill = words("never") if report.last_drill_at is None else words.moment(report.last_drill_at)
    yield Fact(words("last_drill"), drill)
    locked = words("no") if report.locked_down_at is None else words("since", time=report.locked_down_at)
    yield Fact(words("lockdown"), locked)


def _problems(report: RetentionReport, words: Words) -> Iterator[Fact]:
    """Yield what makes the report unprovable. Details are in the program's own English, so other pages point to it."""
    problems = {
        "vault": report.vault.problem,
        "clock": report.clock_problem,
        "database": report.rolled_back,
        "log": report.log_forged,
    }
    for name, problem in problems.items():
        detail = [] if problem is None else [problem if words.language == "en" else words("detail_elsewhere")]
        yield Fact(words(name), words(f"{name}_problem" if problem else "no_problem"), detail)


def _ages(report: RetentionReport, words: Words, limit_days: int) -> Bars:
    bars = [
        Bar(words("age_day", day=day), held, words.number(held))
        for day, held in enumerate(report.ages_by_day[:limit_days], 1)
    ]
    older = sum(report.ages_by_day[limit_days:])
    bars.append(Bar(words("age_older", days=limit_days), older, words.number(older), late=True))
    columns = words("age"), words("transfers")
    return Bars(words("held_by_age"), words("held_by_age_note", days=limit_days), columns, bars)


def _states(report: RetentionReport, words: Words) -> Table:
    columns = [Column(words("state")), Column(words("transfers"), "number")]
    rows = [[words.code("state", state), words.number(count)] for state, count in sorted(report.transfers.items())]
    return Table(words("by_state"), columns, rows, len(rows))


def _lateness(report: RetentionReport, words: Words) -> Bars:
    """Show the histogram with non-cumulative buckets."""
    below, bars = 0, []
    for bound in LATENESS_BUCKETS_SECONDS:
        total = report.lateness.get(f"lateness_le_{bound}", 0)
        bars.append(Bar(words("within_seconds", seconds=bound), total - below, words.number(total - below)))
        below = total
    more = report.lateness.get("lateness_count", 0) - below
    bars.append(Bar(words("later"), more, words.number(more)))
    return Bars(words("lateness"), words("lateness_note"), (words("late_by"), words("deletions")), bars)


def _days(report: RetentionReport, words: Words) -> Table:
    columns = [Column(words("day")), Column(words("deletions"), "number"), Column(words("worst_lateness"), "number")]
    rows = [
        [words.day(day), words.number(count), words("seconds", seconds=round(worst, 1))]
        for day, count, worst in report.lateness_by_day
    ]
    return Table(words("lateness_by_day"), columns, rows, len(rows))


def _gaps(report: RetentionReport, words: Words) -> Table:
    columns = [Column(words("from")), Column(words("to")), Column(words("duration"), "number")]
    rows = [
        [words.moment(began), words.moment(ended), words("seconds", seconds=round((ended - began).total_seconds()))]
        for began, ended in report.gaps[:ROWS_SHOWN]
    ]
    return Table(words("gaps"), columns, rows, len(report.gaps), words("gaps_note"))
