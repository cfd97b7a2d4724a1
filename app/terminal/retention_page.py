"""The retention report as an HTML page with bar charts."""

from __future__ import annotations

from app.actions.report_retention import RetentionReport
from app.domain.retention import LATENESS_BUCKETS_SECONDS
from app.runtime.settings import Settings
from app.terminal.report_page import report_page

BAR_PIXELS = 160
CEILING_SECONDS = 3.0


def retention_page(report: RetentionReport, settings: Settings) -> str:
    """Return the page as HTML."""
    return report_page(
        "retention_page.html",
        report=report,
        organisation=settings.organisation,
        limit_days=settings.max_lifetime.days,
        ages=_bars(list(enumerate(report.ages_by_day, 1))),
        lateness=_bars(_buckets(report.lateness)),
        days=_bars([(day.strftime("%d/%m"), round(worst, 1)) for day, _, worst in report.lateness_by_day]),
        bar_pixels=BAR_PIXELS,
    )


def _bars(values: list[tuple[object, float]]) -> list[dict[str, object]]:
    """Return label, value and height in pixels of each bar; the highest bar fills the chart."""
    highest = max((value for _, value in values), default=0) or 1
    return [
        {"label": label, "value": value, "height": max(round(value / highest * BAR_PIXELS), 1 if value else 0)}
        for label, value in values
    ]


def _buckets(counters: dict[str, int]) -> list[tuple[object, float]]:
    """Return the lateness histogram with non-cumulative buckets (label, number of deletions)."""
    below, rows = 0, []
    for bound in LATENESS_BUCKETS_SECONDS:
        count = counters.get(f"lateness_le_{bound}", 0)
        rows.append((f"≤ {bound} s", float(count - below)))
        below = count
    return [*rows, ("more", float(counters.get("lateness_count", 0) - below))]
