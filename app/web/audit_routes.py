"""The audit over HTTP, for a DPO or auditor without a shell: the JSON of the commands with the same names, or a page
for `Accept: text/html`. `audit_form_routes.py` serves the same to a browser without a script.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field, StrictStr

from app.actions.read_log import LogPage, entry_filter, page_of_log, page_of_log_backwards
from app.crypto.errors import NoteInvalid
from app.crypto.proof_text import decoded
from app.domain.errors import InvalidRequest
from app.domain.period import parse_period
from app.runtime.resources import Resources
from app.web.audit_answers import (
    checkpoint_answer,
    consistency_answer,
    deliveries_answer,
    export_answer,
    exposure_answer,
    in_turn,
    retention_answer,
)
from app.web.guard import CurrentCaller, CurrentResources, GuardedRoute
from app.web.negotiation import wants_text
from app.web.queries import QueryModel
from app.web.receipt_answer import receipt_answer
from app.web.report_pages import language_of_page

router = APIRouter(prefix="/api/v1/audit", route_class=GuardedRoute, tags=["audit"])

MAX_ENTRIES = 1_000


class PeriodQuery(QueryModel):
    """The period: dates, or times with their zone; `to` defaults to now. `lang` is the language of a page."""

    since: StrictStr = Field(alias="from", max_length=40)
    until: StrictStr | None = Field(None, alias="to", max_length=40)
    lang: StrictStr | None = None


class LogOrder(StrEnum):
    """Which entries come first."""

    OLDEST = "oldest"
    NEWEST = "newest"


class LogQuery(QueryModel):
    """Filters for entries, and the page: order, first sequence number (`start`, else 0 or the newest) and
    the maximum number of entries (`limit`).
    """

    event: StrictStr | None = None
    transfer: StrictStr | None = None
    share: StrictStr | None = None
    actor: StrictStr | None = None
    since: StrictStr | None = Field(None, alias="from", max_length=40)
    until: StrictStr | None = Field(None, alias="to", max_length=40)
    order: LogOrder = LogOrder.OLDEST
    start: int | None = Field(None, ge=0, le=2**62)
    limit: int = Field(100, ge=1, le=MAX_ENTRIES)


@router.get("/retention", response_model=None)
async def audit_retention(
    request: Request, caller: CurrentCaller, resources: CurrentResources, lang: str | None = None
) -> Response:
    """Report held and overdue data; `exit_code` is the command's: 0 clean, 1 overdue or orphaned, 2 not provable."""
    return await retention_answer(resources, caller.actor, language_of_page(request, lang))


@router.get("/exposure", response_model=None)
async def audit_exposure(
    request: Request, caller: CurrentCaller, resources: CurrentResources, asked: Annotated[PeriodQuery, Query()]
) -> Response:
    """Report data held and fetched in a period, from the log alone."""
    period = parse_period(asked.since, asked.until, resources.clock.now())
    return await exposure_answer(resources, caller.actor, period, language_of_page(request, asked.lang))


@router.get("/deliveries", response_model=None)
async def audit_deliveries(
    request: Request, caller: CurrentCaller, resources: CurrentResources, asked: Annotated[PeriodQuery, Query()]
) -> Response:
    """Report what was deposited in a period, by depositor and recipient, and what nobody fetched."""
    period = parse_period(asked.since, asked.until, resources.clock.now())
    return await deliveries_answer(resources, caller.actor, period, language_of_page(request, asked.lang))


@router.get("/log")
async def audit_log(
    caller: CurrentCaller, resources: CurrentResources, asked: Annotated[LogQuery, Query()]
) -> dict[str, Any]:
    """Return a page of log entries in order; `next` is the `start` of the next page, null at the end."""
    page = await in_turn(resources, caller.actor, partial(log_page, resources, asked))
    return {
        "entries": [entry.fields() or {"sequence": entry.sequence} for entry in page.entries],
        "next": page.following,
    }


def log_page(resources: Resources, asked: LogQuery) -> LogPage:
    """Return the page of the log that a query asks for. Raises InvalidRequest, InvalidTime."""
    wanted = entry_filter(**asked.model_dump(exclude={"order", "start", "limit"}))
    if asked.order is LogOrder.NEWEST:
        return page_of_log_backwards(resources, wanted, start=asked.start, limit=asked.limit)
    return page_of_log(resources, wanted, start=asked.start or 0, limit=asked.limit)


@router.get("/receipts/{transfer_id}", response_class=PlainTextResponse)
async def audit_receipt(
    request: Request, transfer_id: str, caller: CurrentCaller, resources: CurrentResources, lang: str | None = None
) -> Response:
    """Return the receipt of the deletion of any transfer; with `Accept: text/html`, the certificate."""
    async with resources.reporting.turn(caller.actor):
        return await receipt_answer(resources, transfer_id, language=language_of_page(request, lang))


@router.get("/checkpoint", response_model=None)
async def audit_checkpoint(request: Request, resources: CurrentResources, lang: str | None = None) -> Response:
    """Return the last signed checkpoint and the log's public key; with `Accept: text/plain`, only the signed note."""
    as_text = wants_text(request.headers.get("accept"))
    return await checkpoint_answer(resources, language_of_page(request, lang), as_text=as_text)


@router.post("/consistency", response_model=None)
async def audit_consistency(request: Request, resources: CurrentResources, lang: str | None = None) -> Response:
    """Compare a kept checkpoint, the body, with the last one; return a proof that the log only grew since."""
    try:
        kept = decoded(await request.body())
    except NoteInvalid:
        raise InvalidRequest("The body is a checkpoint, as text in UTF-8.") from None
    return await consistency_answer(resources, kept, language_of_page(request, lang))


@router.get("/export", response_model=None)
async def audit_export(caller: CurrentCaller, resources: CurrentResources) -> Response:
    """Stream the whole log as JSON lines, for verification without the service."""
    return export_answer(resources, caller)
