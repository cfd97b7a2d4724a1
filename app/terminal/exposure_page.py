"""The exposure report as a page: what a notification under the GDPR, articles 33 and 34, asks for, and its evidence."""

from __future__ import annotations

from app.domain.exposure import ExposureReport
from app.runtime.settings import Settings
from app.terminal.report_page import report_page

ROWS_SHOWN = 500
"""Of each table; a page is for people. The whole of it is in the JSON."""

BUSIEST_MINUTES = 20


def exposure_page(report: ExposureReport, settings: Settings) -> str:
    """The page, HTML."""
    busiest = sorted(report.refused_links, key=lambda refused: -refused.count)[:BUSIEST_MINUTES]
    return report_page(
        "exposure_page.html",
        report=report,
        organisation=settings.organisation,
        contact=settings.contact,
        busiest=busiest,
        rows_shown=ROWS_SHOWN,
    )
