"""`PUT /send`: one `curl -T` deposits a file and issues one share, so that the safe way is the easy way (G7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.actions.create_transfer import CreatedTransfer, TransferOptions, create_transfer
from app.actions.delete_transfer import delete_transfer
from app.actions.deposit_file import IncomingFile, deposit_file
from app.actions.issue_share import IssuedShare, NewShare, issue_share
from app.crypto.encoding import encode
from app.domain.access_token import Caller
from app.domain.duration import parse_duration
from app.domain.errors import InvalidRequest
from app.domain.file_meta import FileMeta
from app.domain.transfer import Ending, checked_free_text
from app.runtime.hashing_queue import Place
from app.runtime.settings import Settings
from app.web.bodies import incoming_file
from app.web.confirmed_response import ConfirmedResponse
from app.web.guard import CurrentCaller, CurrentResources, GivenClientKey, GuardedRoute, resources_of
from app.web.idempotency import digested, idempotent
from app.web.schemas import SendAnswer
from app.web.share_answer import link_of, share_answer
from app.web.share_text import SharedFiles

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["deposit"])


class SendOptions:
    """The query parameters of a deposit, checked before the body is received."""

    def __init__(
        self,
        *,
        recipient: Annotated[str | None, Query(description="the recipient; no patient data")] = None,
        expires_in: Annotated[str | None, Query(description="30m, 12h, 7d or seconds")] = None,
        label: Annotated[str | None, Query(description="shown to the recipient; no patient data")] = None,
        purpose: Annotated[str | None, Query(description="one of the configured purposes")] = None,
        records: Annotated[int | None, Query(description="how many people's data the file contains")] = None,
        keep_until_expiry: Annotated[
            bool, Query(description="keep the transfer after all recipients have fetched it")
        ] = False,
        allow_empty: Annotated[bool, Query(description="accept a file without a byte")] = False,
    ) -> None:
        """Raises InvalidRequest, InvalidDuration."""
        self.allow_empty = allow_empty
        named = checked_free_text(recipient, field="recipient")
        if named is None:
            raise InvalidRequest("recipient: name the recipient.")
        self.recipient = named
        self.transfer_options = TransferOptions(
            lifetime=parse_duration(expires_in) if expires_in is not None else None,
            label=label,
            purpose=purpose,
            records=records,
            keep_until_expiry=keep_until_expiry,
        )


@router.put("/send", status_code=201, response_model=SendAnswer)
@router.put("/send/{filename:path}", status_code=201, response_model=SendAnswer)
async def send(
    request: Request,
    caller: CurrentCaller,
    resources: CurrentResources,
    given_key: GivenClientKey,
    options: Annotated[SendOptions, Depends()],
    filename: str | None = None,
) -> Response:
    """Deposit the body as a transfer of one file, and issue one share of it.

    Any failure ends the transfer, so that no partial deposit remains; so does a response that the client never
    acknowledges, because nobody would have the link. A place for issuing is reserved before the body is received: with
    the queue full after it, it would be thrown away.
    """
    with resources.issuing.place(caller.actor) as place:
        file = await incoming_file(
            request,
            filename,
            allow_empty=options.allow_empty,
            idle_seconds=resources.settings.idle_timeout.total_seconds(),
        )
        return await _send(request, caller, file, options, given_key, place)


async def _send(
    request: Request,
    caller: Caller,
    file: IncomingFile,
    options: SendOptions,
    given_key: bytes | None,
    place: Place,
) -> Response:
    resources = resources_of(request)
    body_digest, body = await digested(request, file.body)
    file = replace(file, body=body)
    async with idempotent(request, caller, body_digest=body_digest) as reply:
        created = await resources.in_thread(
            create_transfer, resources, caller, options.transfer_options, client_key=given_key
        )

        async def end(ending: Ending) -> None:
            await asyncio.shield(
                resources.in_thread(delete_transfer, resources, created.id, caller=caller, ending=ending)
            )

        try:
            deposited = await deposit_file(
                resources, caller, transfer_id=created.id, client_key=created.client_key, incoming=file
            )
            new = NewShare(created.id, options.recipient, place)
            share = await issue_share(resources, caller, new, client_key=created.client_key, reply=reply)
            answer = _answer(resources.settings, created, share, file.meta, size=deposited.size)
            shown = answer.model_copy(update={"client_key": None}) if given_key else answer
            response = _shown(request, shown, options)
        except BaseException:
            await end(Ending.FAILED)
            raise
    return ConfirmedResponse(response, lambda: end(Ending.UNANSWERED))


def _answer(
    settings: Settings, created: CreatedTransfer, share: IssuedShare, meta: FileMeta, *, size: int
) -> SendAnswer:
    return SendAnswer(
        transfer_id=created.id,
        client_key=encode(created.client_key),
        share_id=share.id,
        link=link_of(settings, share),
        password=share.password,
        expires_at=created.expires_at,
        name=meta.name,
        path=meta.path or None,
        size=size,
    )


def _shown(request: Request, answer: SendAnswer, options: SendOptions) -> Response:
    files = SharedFiles(
        transfer_id=answer.transfer_id,
        recipient=options.recipient,
        label=checked_free_text(options.transfer_options.label, field="label"),
        sizes=(answer.size,),
        name="/".join(filter(None, (answer.path, answer.name))),
        client_key=answer.client_key,
    )
    return share_answer(request, answer, files)
