"""The audit reports over HTTP, for a DPO or auditor without a shell: the JSON of the commands with the same names.

Reports read much data. Each process creates one at a time, a few requests wait, and further ones are refused, so that
reports do not slow deposits down.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from app.actions.read_log import entry_filter, page_of_log
from app.actions.reconcile import count_orphans
from app.actions.report_exposure import report_exposure
from app.actions.report_retention import report_retention
from app.domain.document import document
from app.domain.errors import CheckpointNotFound
from app.domain.period import parse_period
from app.runtime.installation import InstallationMismatch
from app.runtime.resources import Resources
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder
from app.web.guard import CurrentCaller, CurrentResources, GuardedRoute
from app.web.receipt_answer import receipt_answer
from app.web.share_answer import wants_text

router = APIRouter(prefix="/api/v1/audit", route_class=GuardedRoute, tags=["audit"])

MAX_ENTRIES = 1_000


class _StrictQuery(BaseModel):
    """Refuses unknown parameters: a misspelt `form` must not return the whole log."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ExposureQuery(_StrictQuery):
    """The period: dates, or times with their zone; `to` defaults to now."""

    since: StrictStr = Field(alias="from", max_length=40)
    until: StrictStr | None = Field(None, alias="to", max_length=40)


class LogQuery(_StrictQuery):
    """Filters for entries, the first sequence number (`start`) and the maximum number of entries (`limit`)."""

    event: StrictStr | None = None
    transfer: StrictStr | None = None
    share: StrictStr | None = None
    actor: StrictStr | None = None
    since: StrictStr | None = Field(None, alias="from", max_length=40)
    until: StrictStr | None = Field(None, alias="to", max_length=40)
    start: int = Field(0, ge=0, le=2**62)
    limit: int = Field(100, ge=1, le=MAX_ENTRIES)


@router.get("/retention")
async def audit_retention(caller: CurrentCaller, resources: CurrentResources) -> dict[str, Any]:
    """Report held and overdue data; `exit_code` is the command's: 0 clean, 1 overdue or orphaned, 2 not provable."""
    async with resources.reporting.turn(caller.token_id):
        return await resources.in_thread(_retention, resources)


def _retention(resources: Resources) -> dict[str, Any]:
    report = report_retention(resources, orphans=_orphans(resources))
    return {**document(report), "exit_code": report.exit_code}


def _orphans(resources: Resources) -> int | None:
    """Count orphans now, as the command does: an old count would prove nothing. None if a store cannot be read."""
    try:
        return sum(result.orphans for result in count_orphans(resources))
    except (StorageError, InstallationMismatch):
        return None


@router.get("/exposure")
async def audit_exposure(
    caller: CurrentCaller, resources: CurrentResources, asked: Annotated[ExposureQuery, Query()]
) -> dict[str, Any]:
    """Report data held and fetched in a period, from the log alone."""
    period = parse_period(asked.since, asked.until, resources.clock.now())
    async with resources.reporting.turn(caller.token_id):
        return document(await resources.in_thread(report_exposure, resources, period))


@router.get("/log")
async def audit_log(
    caller: CurrentCaller, resources: CurrentResources, asked: Annotated[LogQuery, Query()]
) -> dict[str, Any]:
    """Return a page of log entries in order; `next` is the `start` of the next page, null at the end."""
    wanted = entry_filter(**asked.model_dump(exclude={"start", "limit"}))
    async with resources.reporting.turn(caller.token_id):
        page = await resources.in_thread(page_of_log, resources, wanted, start=asked.start, limit=asked.limit)
    return {
        "entries": [entry.fields() or {"sequence": entry.sequence} for entry in page.entries],
        "next": page.following,
    }


@router.get("/receipts/{transfer_id}", response_class=PlainTextResponse)
async def audit_receipt(
    request: Request, transfer_id: str, caller: CurrentCaller, resources: CurrentResources, lang: str | None = None
) -> Response:
    """Return the receipt of the deletion of any transfer; with `Accept: text/html`, the certificate."""
    async with resources.reporting.turn(caller.token_id):
        return await receipt_answer(request, resources, transfer_id, lang=lang)


@router.get("/checkpoint", response_model=None)
async def audit_checkpoint(request: Request, resources: CurrentResources) -> Response:
    """Return the last signed checkpoint and the log's public key; with `Accept: text/plain`, only the signed note."""
    signing = SigningFolder(resources.settings.signing_dir)
    note, key = await resources.in_thread(_signed, signing)
    if note is None or key is None:
        raise CheckpointNotFound
    if wants_text(request.headers.get("accept")):
        return PlainTextResponse(note)
    return JSONResponse({"note": note, "public_key": key})


def _signed(signing: SigningFolder) -> tuple[str | None, str | None]:
    return signing.last_checkpoint(), signing.verifier_key()
