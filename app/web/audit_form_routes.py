"""The audit for a browser: a form that sends an access token with each request, and gets a page.

A browser cannot add a header to a link, and a token never belongs into a URL. So the form, one page without a script,
sends the token in its body, and nothing is kept. Each report opens in a tab of its own, so that the token stays in the
form's tab as long as the auditor leaves it open. Who is signed in reads the same at `/house` (`house_routes.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from app.crypto.token import is_id
from app.domain.access_token import AUDITORS, Caller
from app.domain.errors import InvalidRequest, NotFound, TransferNotFound
from app.domain.period import Period, parse_period, with_zone
from app.runtime.resources import Resources
from app.web.audit_answers import (
    checkpoint_answer,
    consistency_answer,
    deliveries_answer,
    export_answer,
    exposure_answer,
    retention_answer,
)
from app.web.guard import CurrentCaller, CurrentResources, GuardedRoute, signed_in
from app.web.receipt_answer import receipt_answer
from app.web.report_pages import form_response, page_language

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


class Submitted:
    """A submitted form of an authenticated auditor."""

    def __init__(self, request: Request, caller: CurrentCaller, resources: CurrentResources) -> None:
        """FastAPI calls this with what the guard has found."""
        self.request = request
        self.resources: Resources = resources
        self.caller: Caller = caller
        self.fields: dict[str, str] = request.state.form
        self.language = page_language(request, self.fields.get("lang"))

    def period(self) -> Period:
        """Return the period that the form names. Raises InvalidTime, InvalidRequest."""
        since, until, zone = self.fields.get("from"), self.fields.get("to"), self.resources.settings.zone
        if since is None:
            raise InvalidRequest("from: required.")
        ends = None if until is None else with_zone(until, zone, ends=True)
        return parse_period(with_zone(since, zone), ends, self.resources.clock.now())


async def _retention(form: Submitted) -> Response:
    return await retention_answer(form.resources, form.caller.actor, form.language)


async def _exposure(form: Submitted) -> Response:
    return await exposure_answer(form.resources, form.caller.actor, form.period(), form.language)


async def _deliveries(form: Submitted) -> Response:
    return await deliveries_answer(form.resources, form.caller.actor, form.period(), form.language)


async def _certificate(form: Submitted) -> Response:
    return await _about_receipt(form, page=True)


async def _receipt(form: Submitted) -> Response:
    return await _about_receipt(form, page=False)


async def _about_receipt(form: Submitted, *, page: bool) -> Response:
    transfer = form.fields.get("transfer", "")
    if not is_id(transfer):
        raise TransferNotFound
    async with form.resources.reporting.turn(form.caller.actor):
        return await receipt_answer(form.resources, transfer, language=form.language if page else None)


async def _checkpoint(form: Submitted) -> Response:
    return await checkpoint_answer(form.resources, form.language)


async def _consistency(form: Submitted) -> Response:
    return await consistency_answer(form.resources, form.fields.get("kept", ""), form.language)


async def _export(form: Submitted) -> Response:
    return export_answer(form.resources, form.caller)


REPORTS: dict[str, Callable[[Submitted], Awaitable[Response]]] = {
    "retention": _retention,
    "exposure": _exposure,
    "deliveries": _deliveries,
    "certificate": _certificate,
    "receipt": _receipt,
    "checkpoint": _checkpoint,
    "consistency": _consistency,
    "export": _export,
}


@router.get("/audit")
async def audit_entrance(request: Request, resources: CurrentResources, lang: str | None = None) -> Response:
    """Return the form. It shows nothing of the service's data. Auditors who are signed in need none: they are sent to
    the pages of the house.
    """
    language, caller = page_language(request, lang), await signed_in(request)
    if caller is not None and caller.role in AUDITORS:
        return RedirectResponse(f"/house?lang={language}", 303)
    return form_response(resources.settings, language)


@router.post("/audit/{report}")
async def audit_form(report: str, form: Annotated[Submitted, Depends()]) -> Response:
    """Return one report to a submitted form."""
    answer = REPORTS.get(report)
    if answer is None:
        raise NotFound
    return await answer(form)
