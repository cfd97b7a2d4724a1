"""The response with a receipt of deletion: the signed proof as text, or with `Accept: text/html` the certificate."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from app.actions.certify_deletion import certify_deletion
from app.actions.give_receipt import give_receipt
from app.domain.access_token import Caller
from app.reports.certificate import certificate_page
from app.runtime.resources import Resources
from app.web.report_pages import page_language, page_response, wants_page


async def receipt_answer(
    request: Request, resources: Resources, transfer_id: str, *, caller: Caller | None = None, lang: str | None = None
) -> Response:
    """Return the receipt of a transfer of this caller; of any transfer without one."""
    page, language = wants_page(request), page_language(request, lang)
    receipt = await resources.in_thread(give_receipt, resources, transfer_id, caller=caller)
    vary = {"Vary": "Accept, Accept-Language"}
    if not page:
        return PlainTextResponse(receipt, headers=vary)
    certificate = await resources.in_thread(certify_deletion, resources, receipt)
    response = page_response(certificate_page(certificate, resources.settings, language), language)
    response.headers.update(vary)
    return response
