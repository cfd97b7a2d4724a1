"""Whether the log covers the period of a report, and the dates of what it lacks."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from app.domain.period import is_pruned
from app.reports.page import Verdict
from app.reports.words import Words


class PeriodReport(Protocol):
    """A report on a period, from the log."""

    complete: bool
    since: datetime
    pruned_before: datetime | None
    lost: list[tuple[datetime, datetime]]


def gap_verdicts(report: PeriodReport, words: Words) -> list[Verdict]:
    """Return that the log has every entry of the period, or one verdict for each gap."""
    if report.complete:
        return [Verdict(words("log_complete"))]
    found = []
    if is_pruned(report.pruned_before, since=report.since):
        found.append(Verdict(words("exposure_pruned", time=report.pruned_before), bad=True))
    found += [Verdict(words("exposure_lost", since=began, until=ended), bad=True) for began, ended in report.lost]
    return found
