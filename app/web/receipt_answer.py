"""The response with a receipt of deletion: the signed proof as text, or the certificate as a page."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import PlainTextResponse

from app.actions.certify_deletion import certify_deletion
from app.actions.give_receipt import give_receipt
from app.domain.access_token import Caller
from app.reports.certificate import certificate_page
from app.runtime.resources import Resources
from app.web.report_pages import page_response


async def receipt_answer(
    resources: Resources, transfer_id: str, *, language: str | None, caller: Caller | None = None
) -> Response:
    """Return the receipt of a transfer of this caller, of any transfer without one; in a language, the certificate."""
    receipt = await resources.in_thread(give_receipt, resources, transfer_id, caller=caller)
    if language is None:
        return PlainTextResponse(receipt, headers={"Vary": "Accept, Accept-Language"})
    certificate = await resources.in_thread(certify_deletion, resources, receipt)
    response = page_response(certificate_page(certificate, resources.settings, language), language)
    response.headers["Vary"] = "Accept, Accept-Language"
    return response
