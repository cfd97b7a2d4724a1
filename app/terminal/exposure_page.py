"""The exposure report as an HTML page: the figures for a notification under GDPR articles 33 and 34, with evidence."""

from __future__ import annotations

from app.domain.exposure import ExposureReport
from app.runtime.settings import Settings
from app.terminal.report_page import report_page

ROWS_SHOWN = 500
"""The maximum number of rows per table. The JSON report contains all of them."""

BUSIEST_MINUTES = 20


def exposure_page(report: ExposureReport, settings: Settings) -> str:
    """Return the page as HTML."""
    busiest = sorted(report.refused_links, key=lambda refused: -refused.count)[:BUSIEST_MINUTES]
    return report_page(
        "exposure_page.html",
        report=report,
        organisation=settings.organisation,
        contact=settings.contact,
        busiest=busiest,
        rows_shown=ROWS_SHOWN,
    )
