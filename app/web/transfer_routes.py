"""Transfers and their shares, for depositors: create, upload, share, list, show, delete, withdraw."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.actions.create_transfer import TransferOptions, create_sealed_transfer, create_transfer
from app.actions.delete_transfer import delete_transfer
from app.actions.deposit_file import deposit_file
from app.actions.issue_share import NewShare, issue_share, prepare_share
from app.actions.list_transfers import list_transfers, show_transfer
from app.actions.withdraw_share import withdraw_share
from app.crypto.encoding import encode
from app.domain.access_token import Caller
from app.domain.duration import format_duration, parse_duration
from app.domain.errors import InvalidRequest, TransferIsSealed, TransferNotSealed
from app.domain.transfer import tidied
from app.domain.transfer_list import parse_filter, parse_position
from app.web.bodies import incoming_file
from app.web.guard import CurrentCaller, CurrentResources, GivenClientKey, GuardedRoute, resources_of
from app.web.idempotency import idempotent
from app.web.listing import listed
from app.web.queries import ReasonQuery, TransferQuery
from app.web.receipt_answer import receipt_answer
from app.web.report_pages import language_of_page
from app.web.schemas import (
    EndingResult,
    FileCreated,
    Me,
    ShareCreated,
    SharePrepared,
    ShareRequest,
    TransferCreated,
    TransferList,
    TransferListed,
    TransferRequest,
)
from app.web.session_answer import session_shown
from app.web.share_answer import ended_answer, link_of, page_of, prepared_answer, share_answer
from app.web.share_text import SharedFiles

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["deposit"])
upload_router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["deposit"])

ENDED: dict[int | str, dict[str, Any]] = {200: {"model": EndingResult}, 202: {"model": EndingResult}}
"""200 with `Prefer: return=representation`; 202 if the keys could not be destroyed yet."""


@router.get("/me")
async def me(request: Request, caller: CurrentCaller, resources: CurrentResources) -> Me:
    """Return who the caller is: id, name, role and the token's expiry; the session of a browser; and the rules for what
    it may send.
    """
    settings = resources.settings
    return Me(
        id=caller.token_id or caller.person or "",
        name=caller.name,
        session=session_shown(request, caller),
        role=caller.role.value,
        expires_at=caller.expires_at,
        sealed="allow",
        max_files=settings.max_files,
        max_bytes=settings.max_transfer_bytes,
        max_shares=settings.max_shares,
        min_lifetime=format_duration(settings.min_lifetime),
        default_lifetime=format_duration(settings.preset_lifetime),
        max_lifetime=format_duration(settings.max_lifetime),
        purposes=list(settings.purposes),
    )


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, caller: CurrentCaller) -> JSONResponse:  # noqa: ARG001 - for callers only
    """Return the OpenAPI description, for callers with a token."""
    application: FastAPI = request.app
    return JSONResponse(application.openapi())


@router.post("/transfers", status_code=201, response_model_exclude_none=True)
async def open_transfer(
    request: Request,
    asked: TransferRequest,
    caller: CurrentCaller,
    resources: CurrentResources,
    given_key: GivenClientKey,
) -> TransferCreated:
    """Create a transfer, open for files."""
    options = TransferOptions(
        lifetime=None if asked.expires_in is None else parse_duration(asked.expires_in),
        label=asked.label,
        purpose=asked.purpose,
        records=asked.records,
        keep_until_expiry=asked.keep_until_expiry,
    )
    if asked.sealed and given_key is not None:
        raise TransferIsSealed
    async with idempotent(request, caller) as reply:
        if asked.sealed:
            sealed = await resources.in_thread(create_sealed_transfer, resources, caller, options, reply=reply)
            return TransferCreated(id=sealed.id, owner_part=encode(sealed.owner_part), expires_at=sealed.expires_at)
        created = await resources.in_thread(
            create_transfer, resources, caller, options, client_key=given_key, reply=reply
        )
    client_key = None if given_key else encode(created.client_key)
    return TransferCreated(id=created.id, client_key=client_key, expires_at=created.expires_at)


@upload_router.put("/transfers/{transfer_id}/files", status_code=201, response_model_exclude_none=True)
@upload_router.put("/transfers/{transfer_id}/files/{filename:path}", status_code=201, response_model_exclude_none=True)
async def add_file(
    request: Request,
    transfer_id: str,
    caller: CurrentCaller,
    resources: CurrentResources,
    client_key: GivenClientKey,
    filename: str | None = None,
    *,
    allow_empty: Annotated[bool, Query(description="accept a file without a byte")] = False,
) -> FileCreated:
    """Upload one file to a transfer."""
    idle_seconds = resources.settings.idle_timeout.total_seconds()
    file = await incoming_file(request, filename, allow_empty=allow_empty, idle_seconds=idle_seconds)
    deposited = await deposit_file(resources, caller, transfer_id=transfer_id, client_key=client_key, incoming=file)
    meta = file.meta
    return FileCreated(number=deposited.number, size=deposited.size, name=meta.name, path=meta.path or None)


@router.post("/transfers/{transfer_id}/shares", status_code=201, response_model=ShareCreated | SharePrepared)
async def share(
    request: Request,
    transfer_id: str,
    asked: ShareRequest,
    caller: CurrentCaller,
    resources: CurrentResources,
    client_key: GivenClientKey,
) -> Response:
    """Issue a share; for a sealed transfer, only prepare it. The first share closes the transfer to new files."""
    own = await resources.in_thread(show_transfer, resources, caller, transfer_id)
    files = SharedFiles(
        transfer_id=transfer_id,
        recipient=tidied(asked.recipient),
        label=own.transfer.label,
        sizes=tuple(file.size for file in own.files),
    )
    if own.transfer.sealed:
        if client_key is not None:
            raise TransferIsSealed
        return await _prepared(request, asked, caller, files)
    if asked.password is not None:
        raise TransferNotSealed("password: only for sealed transfers; for others, the service generates it.")
    new = NewShare(transfer_id, asked.recipient)
    async with idempotent(request, caller, transfer_id=transfer_id) as reply:
        issued = await issue_share(resources, caller, new, client_key=client_key, reply=reply)
    answer = ShareCreated(
        share_id=issued.id,
        link=link_of(resources.settings, issued),
        password=issued.password,
        expires_at=issued.expires_at,
    )
    return share_answer(request, answer, files)


async def _prepared(request: Request, asked: ShareRequest, caller: Caller, files: SharedFiles) -> Response:
    if asked.password is None:
        raise InvalidRequest("password: required for a sealed transfer; the depositor's client generates it.")
    resources = resources_of(request)
    new = NewShare(files.transfer_id, asked.recipient)
    async with idempotent(request, caller, transfer_id=files.transfer_id) as reply:
        prepared = await prepare_share(resources, caller, new, password=asked.password, reply=reply)
    answer = SharePrepared(
        share_id=prepared.id,
        server_part=encode(prepared.server_part),
        page=page_of(resources.settings, prepared.id),
        expires_at=prepared.expires_at,
    )
    return prepared_answer(request, answer, files)


@router.get("/transfers")
async def own_transfers(
    caller: CurrentCaller, resources: CurrentResources, asked: Annotated[TransferQuery, Query()]
) -> TransferList:
    """Return a page of the caller's transfers, newest first; `next` is the next page's `after`, null at the end."""
    wanted = parse_filter(state=asked.state, recipient=asked.recipient, since=asked.since)
    after = None if asked.after is None else parse_position(asked.after)
    page = await resources.in_thread(list_transfers, resources, caller, wanted, after=after, limit=asked.limit)
    following = None if page.following is None else str(page.following)
    return TransferList(transfers=[listed(resources, one) for one in page.transfers], next=following)


@router.get("/transfers/{transfer_id}")
async def own_transfer(transfer_id: str, caller: CurrentCaller, resources: CurrentResources) -> TransferListed:
    """Return one of the caller's transfers, with the state of each share."""
    return listed(resources, await resources.in_thread(show_transfer, resources, caller, transfer_id))


@router.get("/transfers/{transfer_id}/receipt", response_class=PlainTextResponse)
async def receipt(
    request: Request, transfer_id: str, caller: CurrentCaller, resources: CurrentResources, lang: str | None = None
) -> Response:
    """Return the signed proof (c2sp.org/tlog-proof) that a transfer of the caller was deleted, or the certificate."""
    return await receipt_answer(resources, transfer_id, language=language_of_page(request, lang), caller=caller)


@router.delete("/transfers/{transfer_id}", status_code=204, response_class=Response, responses=ENDED)
async def delete(
    request: Request,
    transfer_id: str,
    caller: CurrentCaller,
    resources: CurrentResources,
    asked: Annotated[ReasonQuery, Query()],
) -> Response:
    """Delete a transfer: its keys at once, its bytes within seconds. 202 if its keys could not be destroyed yet."""
    destroyed = await resources.in_thread(delete_transfer, resources, transfer_id, caller=caller, reason=asked.reason)
    shown = await resources.in_thread(show_transfer, resources, caller, transfer_id)
    state = shown.transfer.state.value
    return ended_answer(request, EndingResult(id=transfer_id, state=state, keys_destroyed=destroyed))


@router.delete("/shares/{share_id}", status_code=204, response_class=Response, responses=ENDED)
async def withdraw(
    request: Request,
    share_id: str,
    caller: CurrentCaller,
    resources: CurrentResources,
    asked: Annotated[ReasonQuery, Query()],
) -> Response:
    """Withdraw a share. Idempotent: one that has ended keeps its state. 202 if its keys could not be destroyed yet."""
    ended = await resources.in_thread(withdraw_share, resources, share_id, caller=caller, reason=asked.reason)
    return ended_answer(
        request, EndingResult(id=share_id, state=ended.state.value, keys_destroyed=ended.keys_destroyed)
    )
