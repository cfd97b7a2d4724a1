"""The pages of the house about the log: its entries, receipts of deletion, the checkpoint, and the export."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field, model_validator

from app.actions.certify_deletion import certify_deletion
from app.actions.give_receipt import give_receipt
from app.actions.prove_consistency import prove_consistency
from app.actions.read_log import LogPage
from app.crypto.token import is_id
from app.domain.audit_events import Event
from app.domain.certificate import Certificate
from app.domain.errors import CheckpointNotFound, InvalidRequest, InvalidTime, Refusal, TransferNotFound
from app.domain.period import form_time, with_zone
from app.reports.certificate import certificate_page
from app.reports.log_pages import consistency_content
from app.reports.log_rows import log_rows
from app.runtime.resources import Resources
from app.web.audit_answers import checkpoint_of, export_answer, in_turn
from app.web.audit_routes import LogOrder, LogQuery, log_page
from app.web.house_page import HouseRoute, InHouse, reasons, saved
from app.web.problems import STATUS
from app.web.report_pages import page_response

router = APIRouter(route_class=HouseRoute, include_in_schema=False)

ENTRIES = 100
"""Entries of the log on one page."""


class LogForm(LogQuery):
    """The filters of the view; empty fields of its form are none."""

    order: LogOrder = LogOrder.NEWEST
    limit: int = Field(ENTRIES, ge=1, le=ENTRIES)

    @model_validator(mode="before")
    @classmethod
    def _without_empty_fields(cls, fields: Any) -> Any:
        return {name: value for name, value in fields.items() if value != ""} if isinstance(fields, dict) else fields


@router.get("/house/log")
async def house_log(house: InHouse, asked: Annotated[LogForm, Query()]) -> Response:
    """Return a page of the log, newest entries first, and its filters."""
    zone = house.resources.settings.zone
    until = None if asked.until is None else with_zone(asked.until, zone, ends=True)
    local = asked.model_copy(
        update={"since": None if asked.since is None else with_zone(asked.since, zone), "until": until}
    )
    shown = {"since": form_time(asked.since or "", zone), "until": form_time(asked.until or "", zone, ends=True)}
    page, field, wrong = LogPage([], None), "", list[str]()
    try:
        page = await in_turn(house.resources, house.caller.actor, partial(log_page, house.resources, local))
    except (InvalidRequest, InvalidTime) as refusal:
        field = refusal.detail.partition(":")[0]
        own = f"log_wrong_{field}"
        wrong = [house.words(own)] if own in house.words else reasons(refusal, house.language)
    return house.page(
        "log",
        status=400 if wrong else 200,
        asked=asked.model_copy(update=shown),
        events=list(Event),
        field=field,
        following=page.following,
        rows=log_rows(page.entries, house.words),
        wrong=wrong,
        zone=zone,
    )


class ReceiptFile(StrEnum):
    """What is saved of a deletion."""

    RECEIPT = "receipt"
    CERTIFICATE = "certificate"


@router.get("/house/receipts")
async def house_receipts(house: InHouse, transfer: str = "", save: ReceiptFile | None = None) -> Response:
    """Return the form for a transfer's id; with one, the certificate of its destruction, or why there is none."""
    transfer, certificate = transfer.strip(), None
    wrong, status = list[str](), 200
    if transfer:
        try:
            certify = partial(_certificate, house.resources, transfer)
            certificate = await in_turn(house.resources, house.caller.actor, certify)
        except Refusal as refusal:
            wrong, status = reasons(refusal, house.language), STATUS[type(refusal)]
    if certificate is None or save is None:
        return house.page("receipts", status=status, certificate=certificate, transfer=transfer, wrong=wrong)
    if save is ReceiptFile.RECEIPT:
        return saved(house, f"receipt-{transfer}.tlog-proof", PlainTextResponse(certificate.receipt), dated=False)
    html = certificate_page(certificate, house.resources.settings, house.language)
    return saved(house, f"certificate-{transfer}.html", page_response(html, house.language), dated=False)


def _certificate(resources: Resources, transfer: str) -> Certificate:
    if not is_id(transfer):
        raise TransferNotFound
    return certify_deletion(resources, give_receipt(resources, transfer))


class CheckpointFile(StrEnum):
    """What is saved of the log's last signature."""

    NOTE = "note"
    KEY = "key"


@router.get("/house/checkpoint")
async def house_checkpoint(house: InHouse, save: CheckpointFile | None = None) -> Response:
    """Return the last signed checkpoint, the form that compares one, and the way to the export."""
    try:
        note, key = await checkpoint_of(house.resources)
    except CheckpointNotFound as refusal:
        return house.page("checkpoint", note="", key="", kept="", page=None, wrong=reasons(refusal, house.language))
    if save is CheckpointFile.NOTE:
        return saved(house, "checkpoint.txt", PlainTextResponse(note))
    if save is CheckpointFile.KEY:
        return saved(house, "log.pub", PlainTextResponse(f"{key}\n"), dated=False)
    return house.page("checkpoint", note=note, key=key, kept="", page=None, wrong=[])


@router.post("/house/checkpoint")
async def house_consistency(house: InHouse) -> Response:
    """Return the comparison of a kept checkpoint with the last one."""
    kept, page, wrong = house.fields.get("kept", ""), None, list[str]()
    note, key = await checkpoint_of(house.resources)
    try:
        found = await house.resources.in_thread(prove_consistency, house.resources, kept)
        page = consistency_content(found, house.words, at=house.resources.clock.now())
    except InvalidRequest as refusal:
        wrong = reasons(refusal, house.language)
    status = 400 if wrong else 200
    return house.page("checkpoint", status=status, note=note, key=key, kept=kept, page=page, wrong=wrong)


@router.get("/house/export")
async def house_export(house: InHouse) -> Response:
    """Stream the whole log as JSON lines, for verification without the service."""
    return export_answer(house.resources, house.caller)
