"""The certificate of destruction as a page that prints on one sheet."""

from __future__ import annotations

from app.domain.certificate import Certificate
from app.reports.page import render
from app.reports.words import Words
from app.runtime.settings import Settings


def certificate_page(certificate: Certificate, settings: Settings, language: str) -> str:
    """Return the page as HTML."""
    return render(
        "certificate.html",
        Words(language, settings.zone),
        certificate=certificate,
        organisation=settings.organisation,
        contact=settings.contact,
    )
