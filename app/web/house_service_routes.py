"""Lockdown and intake on a page of the house, for administrators. What only a command does: docs/adr/0033."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from app.actions.lock_down import lock_down, lockdown_since
from app.actions.stop_intake import look_at_drain, resume_intake, stop_intake
from app.domain.administration import require_word
from app.domain.audit_events import Reason
from app.domain.errors import ConfirmationRequired, InvalidRequest
from app.web.house_page import House, HouseRoute, InHouse, reason_of, reasons
from app.web.lockdown_word import lockdown_word, lockdown_words
from app.web.problems import STATUS
from app.web.report_pages import wants_page

router = APIRouter(prefix="/house", route_class=HouseRoute, include_in_schema=False)


@router.get("/service")
async def house_service(house: InHouse) -> Response:
    """Return whether the service is locked down and accepts transfers, and the forms that change it."""
    return await _service(house)


@router.post("/lockdown")
async def house_lock_down(house: InHouse) -> Response:
    """Begin a lockdown, and return to the page. A word that is not the right one returns the form."""
    reason, resources = reason_of(house), house.resources
    try:
        require_word(house.fields.get("word", ""), lockdown_words())
    except ConfirmationRequired as refusal:
        if not wants_page(house.request):
            raise
        return await _service(house, refusal)
    await resources.in_thread(lock_down, resources.database, resources.clock, reason, caller=house.caller)
    return _back(house)


@router.post("/intake")
async def house_set_intake(house: InHouse) -> Response:
    """Stop or resume the intake of new transfers, and return to the page."""
    wanted, resources = house.fields.get("intake"), house.resources
    if wanted not in {"on", "off"}:
        raise InvalidRequest
    act = resume_intake if wanted == "on" else stop_intake
    await resources.in_thread(act, resources.database, resources.clock, caller=house.caller)
    return _back(house)


async def _service(house: House, refusal: ConfirmationRequired | None = None) -> Response:
    resources = house.resources
    return house.page(
        "service",
        locked_since=await resources.in_thread(lockdown_since, resources.database),
        drain=await resources.in_thread(look_at_drain, resources.database),
        word=lockdown_word(house.language),
        reason_values=[*Reason],
        refusal=None if refusal is None else reasons(refusal, house.language)[-1],
        status=200 if refusal is None else STATUS[type(refusal)],
    )


def _back(house: House) -> Response:
    return RedirectResponse(f"/house/service?{urlencode({'lang': house.language})}", 303)
