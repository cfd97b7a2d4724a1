"""The lines that name the parts of a report's period that the log does not cover."""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.period import is_pruned
from app.reports.gap_verdicts import PeriodReport
from app.terminal.console import moment


def gap_lines(report: PeriodReport) -> Iterator[str]:
    """Yield one line for each gap, with its dates."""
    if is_pruned(report.pruned_before, since=report.since):
        yield f"NOT COMPLETE: entries before {moment(report.pruned_before)} were pruned from the log"
    for began, ended in report.lost:
        yield f"NOT COMPLETE: a restored database lacks entries from {moment(began)} to {moment(ended)}"
